"""Measuring a network on a data set."""
import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.data.images import read_image
from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.data.prepare.verify import bicubic_psnr
from mipkd_model.evaluation.dataset_check import check_dataset, check_image
from mipkd_model.evaluation.evaluate import EvaluationSettings, evaluate, mean_scores, to_uint8
from mipkd_model.evaluation.metrics import score
from mipkd_model.evaluation.records import read_record

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import tensor2img

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True},
           'ssim_rgb': {'type': 'calculate_ssim', 'crop_border': 2, 'test_y_channel': False}}
SETTINGS = EvaluationSettings(2, METRICS)
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Photographs of x2, packed as LMDBs and as folders."""
    root = tmp_path_factory.mktemp('data')
    runs.options(root)
    for part, source in (('HR', 'train_HR'), ('LR', 'train_LRx2')):
        (root / part).mkdir()
        from mipkd_model.data.raw_lmdb import RawLmdb
        store = RawLmdb(root / f'{source}.lmdb')
        for name in store.shapes:
            cv2.imwrite(str(root / part / f'{name}.png'), store.read(name)[..., ::-1])
    return root


def dataset(folder, kind=PairedSRDataset, gt='train_HR.lmdb', lq='train_LRx2.lmdb', **more):
    return kind({'type': kind.__name__, 'name': 'made', 'phase': 'test', 'scale': 2, 'dataroot_gt': str(folder / gt),
                 'dataroot_lq': str(folder / lq), **more})


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return tiny.edsr(2).eval()


def test_values_are_those_of_basicsr_on_the_networks_output(folder, network):
    data = dataset(folder)
    found = evaluate(network, data, SETTINGS, CPU)
    for item, result in zip(data, found, strict=True):
        with torch.no_grad():
            image = tensor2img(network(item['lq'][None].float() / 255))
        gt = tensor2img(item['gt'].float() / 255)
        assert result.scores['psnr'] == pytest.approx(calculate_psnr(image, gt, 2, test_y_channel=True), abs=1e-9)
        assert result.scores['ssim_rgb'] == pytest.approx(calculate_ssim(image, gt, 2), abs=1e-9)
    assert [result.name for result in found] == [name for name, _ in data.pairs]


def test_the_mean_is_that_of_the_images(folder, network):
    found = [result.scores for result in evaluate(network, dataset(folder), SETTINGS, CPU)]
    assert mean_scores(found)['psnr'] == pytest.approx(sum(values['psnr'] for values in found) / len(found), abs=1e-12)


def test_basicsrs_own_dataset_gives_the_same_values(folder, network):
    basicsrs = dataset(folder, PairedImageDataset, 'HR', 'LR', io_backend={'type': 'disk'})
    first, second = (evaluate(network, data, SETTINGS, CPU) for data in (dataset(folder), basicsrs))
    assert {result.name: result.scores for result in first} == {result.name: result.scores for result in second}


def test_quantized_images_are_rounded_as_basicsr_rounds_them():
    x = torch.cat([torch.linspace(-0.2, 1.2, 3000), torch.arange(0, 256) / 255, (torch.arange(0, 255) + 0.5) / 255])
    image = x[:3 * (len(x) // 3)].reshape(3, 1, -1)
    assert np.array_equal(to_uint8(image), tensor2img(image.clone())[..., ::-1])


def test_outputs_are_saved_where_asked_and_are_what_was_measured(folder, network, tmp_path):
    data = dataset(folder)
    found = evaluate(network, data, SETTINGS, CPU, save_as=lambda name: str(tmp_path / f'deep/{name}_x.png'))
    assert sorted(Path(result.output).name for result in found) == sorted(f'{lq}_x.png' for _, lq in data.pairs)
    for item, result in zip(data, found, strict=True):
        assert score(read_image(result.output), to_uint8(item['gt']), METRICS) == result.scores


def test_an_output_that_is_not_finite_has_no_score(folder, network):
    def broken(lq):
        output = network(lq)
        output[0, 0, 3, 3] = float('nan')
        return output

    found = evaluate(broken, dataset(folder), SETTINGS, CPU)
    assert all(np.isnan(value) for result in found for value in result.scores.values())


def test_a_network_of_another_scale_is_refused_by_the_image(folder):
    line = refusal(evaluate, tiny.edsr(3).eval(), dataset(folder), SETTINGS, CPU, kind=UserError)
    assert line.startswith('0000: the output has 78x60 pixels, but gt 52x40')


def test_an_error_while_measuring_comes_up(folder, network):
    metrics = {'psnr': {**METRICS['psnr'], 'crop_border': 20}}
    assert 'crop_border: 20 leaves nothing of an image of 52x40' in refusal(
        evaluate, network, dataset(folder), EvaluationSettings(2, metrics), CPU, kind=UserError)


def test_float32_is_not_tf32_while_measuring_and_what_it_was_afterwards(folder, network):
    seen, before = [], torch.get_float32_matmul_precision()

    def watch(lq):
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
        return network(lq)

    torch.set_float32_matmul_precision('medium')
    try:
        evaluate(watch, dataset(folder), SETTINGS, CPU)
        assert set(seen) == {('highest', False)} and torch.get_float32_matmul_precision() == 'medium'
    finally:
        torch.set_float32_matmul_precision(before)


def _in_two_processes(rank, folder, port, answers):
    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    torch.manual_seed(0)
    seen = []

    def watch(indices):
        seen.extend(indices)
        return indices

    found = evaluate(tiny.edsr(2).eval(), dataset(folder), SETTINGS, CPU, check=True, progress=watch)
    _test_model(folder, dist=True, rank=rank, world_size=2)
    answers.put((rank, seen, found))
    torch.distributed.destroy_process_group()


def _test_model(folder, **changes):
    """Test the network whose weights are in ``folder`` as BasicSR's pipeline does; the record goes there."""
    from basicsr.models import build_model
    opt = {'name': f'test_{changes["world_size"]}', 'model_type': 'MiPKDModel', 'scale': 2, 'num_gpu': 0,
           'manual_seed': 0, 'is_train': False, 'network_g': {'type': 'EDSR', **tiny.EDSR_SIZES, 'upscale': 2},
           'path': {'pretrain_network_g': str(folder / 'network.pth'), 'log': f'{folder}/{changes["world_size"]}'},
           'val': {'metrics': METRICS}, **changes}
    loader = SimpleNamespace(dataset=dataset(folder))
    build_model(opt).validation(loader, 'test', None)


def test_two_processes_share_the_images_and_get_the_values_of_one(folder, network):
    torch.save(network.state_dict(), folder / 'network.pth')
    import socket
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context('spawn')
    answers = spawn.Queue()
    processes = [spawn.Process(target=_in_two_processes, args=(rank, folder, port, answers)) for rank in range(2)]
    for process in processes:
        process.start()
    found = sorted((answers.get(timeout=300) for _ in processes), key=lambda answer: answer[0])
    for process in processes:
        process.join(300)
    alone = evaluate(network, dataset(folder), SETTINGS, CPU, check=True)
    assert [seen for _, seen, _ in found] == [[0, 2, 4], [1, 3, 5]]
    assert found[0][2] == alone and found[1][2] == alone
    _test_model(folder, dist=False, rank=0, world_size=1)
    one, two = (read_record(folder / f'{count}/records/made.json') for count in (1, 2))
    assert two.images == one.images and two.mean == one.mean and two.dataset == one.dataset


def test_the_check_of_an_image_has_the_score_of_bicubic(folder):
    data = dataset(folder)
    for item, result in zip(data, evaluate(tiny.edsr(2).eval(), data, SETTINGS, CPU, check=True), strict=True):
        expected = bicubic_psnr(to_uint8(item['gt']), to_uint8(item['lq']), 2)
        assert result.check.psnr_y == pytest.approx(expected, abs=1e-9)
        assert result.check.bicubic['psnr'] == pytest.approx(expected, abs=1e-9)


def test_any_change_of_a_data_set_changes_its_digest():
    lq, gt = tiny.noise(10, 12, 1), tiny.noise(20, 24, 2)

    def digest(*pairs):
        return check_dataset('made', [check_image(*pair, METRICS, 2) for pair in pairs], 2)['sha256']

    one_level = gt.copy()
    one_level[3, 4, 1] ^= 1
    sets = [[('a', lq, gt)], [('b', lq, gt)], [('a', lq, one_level)], [('a', lq, gt), ('b', lq, gt)],
            [('a', gt[:10, :12], gt)]]
    assert len({digest(*pairs) for pairs in sets}) == len(sets)
    assert digest(*sets[0]) == digest(('a', lq.copy(), gt.copy()))
    assert digest(*sets[3]) == digest(*reversed(sets[3])), 'the order in which a folder is listed does not matter'


def test_a_data_set_is_compared_with_what_is_known_of_its_name():
    lq, gt = tiny.noise(10, 12, 1), tiny.noise(20, 24, 2)
    checks = [check_image('a', lq, gt, METRICS, 2)]
    assert check_dataset('mine', checks, 2)['good'] is None
    found = check_dataset('Set5', checks, 2)
    assert found['good'] is False and 'has 1 images, but Set5 has 5' in found['check']
    found = check_dataset('Set5', checks * 5, 2)
    assert found['good'] is False and 'but 33.673 dB on the known Set5' in found['check']


SHARED = runs.ROOT.parent / 'shared/data'


@pytest.mark.skipif(not (SHARED / 'reference/rcan_set5').exists(), reason='the official outputs are not here')
@pytest.mark.parametrize('scale, published', [(2, 38.27), (3, 34.74), (4, 32.63)])
def test_the_official_rcan_outputs_have_the_published_psnr(scale, published):
    folder = SHARED / 'reference/rcan_set5'
    metrics = {name: {'type': f'calculate_{name}', 'crop_border': scale, 'test_y_channel': True}
               for name in ('psnr', 'ssim')}
    found = []
    for gt_file in sorted((folder / f'HR/x{scale}').iterdir()):
        output_file, = (folder / f'SR_RCAN/x{scale}').glob(f'{gt_file.stem.split("_")[0]}*')
        image, gt = read_image(output_file), read_image(gt_file)
        found.append(score(image, gt, metrics))
        assert found[-1]['psnr'] == pytest.approx(
            calculate_psnr(image[..., ::-1], gt[..., ::-1], scale, test_y_channel=True), abs=1e-6)
    assert len(found) == 5 and round(mean_scores(found)['psnr'], 2) == published


@pytest.mark.skipif(not (SHARED / 'benchmark').exists(), reason='the benchmark sets are not here')
@pytest.mark.parametrize('name, scale', [('Set5', 2), ('Set5', 3), ('Set5', 4), ('BSD100', 4)])
def test_the_benchmark_sets_are_recognised(name, scale):
    data = PairedSRDataset({'type': 'PairedSRDataset', 'phase': 'test', 'scale': scale,
                            'dataroot_gt': str(SHARED / f'benchmark/{name}/HR'),
                            'dataroot_lq': str(SHARED / f'benchmark/{name}/LR_bicubic/X{scale}')})
    checks = [check_image(result['gt_path'], to_uint8(result['lq']), to_uint8(result['gt']), {}, scale)
              for result in (data[index] for index in range(len(data)))]
    assert check_dataset(name, checks, scale)['good'] is True


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_a_gpu_gives_the_values_of_a_cpu(folder, network):
    data = dataset(folder)
    first = evaluate(network, data, SETTINGS, CPU)
    second = evaluate(network.cuda(), data, SETTINGS, torch.device('cuda'))
    network.cpu()
    for ours, theirs in zip(second, first, strict=True):
        # A value that lies between two levels may be rounded either way.
        assert ours.scores['psnr'] == pytest.approx(theirs.scores['psnr'], abs=1e-3)
