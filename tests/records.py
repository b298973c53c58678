"""Records as an evaluation writes them, without running one."""
import hashlib

from mipkd_model.evaluation.records import ImageRecord, Record, write_record

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
           'ssim': {'type': 'calculate_ssim', 'crop_border': 4, 'test_y_channel': True}}


def record(method='MiPKD', pair='EDSR', scale=4, dataset='Set5', psnr=32.0, ssim=0.9, **fields):
    """A record of two images whose means are psnr and ssim; ``fields`` replace any of its other fields."""
    metrics = {name: {**metric, 'crop_border': scale} for name, metric in METRICS.items()}
    images = {name: ImageRecord(scores={'psnr': psnr + step, 'ssim': ssim + step / 100},
                                bicubic={'psnr': 28.4, 'ssim': 0.81}, lq=f'{name}x{scale}')
              for name, step in (('bird', 0.5), ('head', -0.5))}
    name = fields.pop('name', f'test_{method}_{pair}_x{scale}')
    run = name.replace('test_', 'train_')
    sha256 = hashlib.sha256(run.encode()).hexdigest()
    return Record(**{
        'name': name, 'pair': pair, 'method': method, 'scale': scale, 'seed': 0, 'iteration': None,
        'command': f'python basicsr/test.py -opt options/{name}.yml',
        'option_file': {'file': f'options/{name}.yml', 'sha256': 'a' * 64, 'changed': []},
        'checkpoint': {'file': f'experiments/{run}/models/net_g_latest.pth', 'sha256': sha256,
                       'key': 'params_ema'},
        'training': None,
        'network': {'type': 'EDSRStudent', 'num_feat': 64, 'num_block': 32, 'upscale': scale}, 'parameters': 2_697_795,
        'dataset': {'name': dataset, 'gt': f'datasets/benchmark/{dataset}/HR',
                    'lq': f'datasets/benchmark/{dataset}/LR_bicubic/X{scale}', 'sha256': 'c' * 64,
                    'check': f'bicubic x{scale} gives 28.400 dB on Y', 'good': None},
        'protocol': {'metrics': metrics, 'self_ensemble': False, 'tile': None, 'tile_pad': None, 'precision': 'fp32'},
        'mean': {'psnr': psnr, 'ssim': ssim}, 'bicubic': {'psnr': 28.4, 'ssim': 0.81}, 'images': images,
        'versions': {'mipkd': '0.1', 'torch': '2.15', 'python': '3.11'}, 'device': 'cpu, 2 threads',
        'finished': '2026-01-02T03:04:05+00:00', 'seconds': 1.5, **fields})


def written(folder, **fields):
    """Write ``record(**fields)`` where basicsr/test.py would, below ``folder``. Returns the file."""
    made = record(**fields)
    return write_record(made, folder / made.name / 'records' / f'{made.dataset["name"]}.json')
