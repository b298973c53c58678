"""Mutated option files and command lines, given to the launchers."""
from . import children
from .judge import REFUSE, accepted, code_ran, hashes, judge, losses, newcomers
from .option_mutations import mutate
from .world import SWINIR, launch, testing, training

NAME, WITH_RUNS = 'options', True
ITERATIONS = 2


def bases(world):
    """Valid option files: the kind of run and its options. The first has all losses, the last most of the options."""
    plain = training(world, losses=('pixel_opt', ))
    del plain['network_t'], plain['path']['pretrain_network_t']
    split = training(world, student=SWINIR, losses=('pixel_opt', 'feature_prior_opt'),
                     train={'accumulate': 2, 'grad_clip': 1.0, 'mixer_lr': 0.0005},
                     data={'num_worker_per_gpu': 1, 'batch_size_per_gpu': 4})
    return [('train', training(world)), ('train', plain), ('test', testing(world)), ('train', split),
            ('train', _rich(world))]


def _rich(world):
    opt = training(world, losses=('pixel_opt', 'kd_opt'), data={
        'use_shuffle': False, 'pin_memory': False, 'persistent_workers': False, 'num_prefetch_queue': 2,
        'batch_size_per_gpu': 3}, train={
        'optim_g': {'type': 'AdamW', 'lr': 0.002, 'weight_decay': 0.01, 'betas': [0.9, 0.99], 'eps': 1.0e-08},
        'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [3, 3], 'restart_weights': [1, 0.5],
                      'eta_min': 0.00001},
        'warmup_iter': 2, 'channels_last': False, 'compile': False, 'nonfinite': 'stop',
        'cuts_g': ['body.0', 'body.1'], 'cuts_t': 3, 'ema_decay': 0,
        'fitnet_opt': {'type': 'FitNetLoss', 'variant': 'channel_mean', 'loss_weight': 10},
        'at_opt': {'type': 'ATLoss'}, 'rkd_opt': {'type': 'RKDLoss'}, 'fakd_opt': {'type': 'FAKDLoss'},
        'crosskd_opt': {'type': 'CrossKDLoss'}, 'dukd_opt': {'type': 'DUKDLoss'},
        'mixer_opt': {'latent': 6, 'encoder': 'separate', 'kind': 'cnn', 'mask': 'random3d', 'ratio': 0.5}})
    val = opt['datasets']['val']
    opt['datasets'] |= {'val': {**val, 'name': 'one'}, 'val_2': {**val, 'name': 'two'}}
    opt['path'] |= {'pretrain_network_g': str(world.data / 'student.pth'), 'param_key_g': 'params', 'param_key_t': None,
                    'strict_load_t': True, 'ignore_resume_networks': 'network_t'}
    opt['val'] |= {'suffix': 'x', 'pbar': False, 'self_ensemble': False, 'tile': 16, 'tile_pad': 4,
                   'check_teacher': False}
    opt['val']['metrics']['ssim'] = {'type': 'calculate_ssim', 'crop_border': 2, 'test_y_channel': False,
                                     'better': 'higher'}
    opt['logger'] |= {'keep_states': 2, 'wandb': {'project': None, 'resume_id': None}}
    return opt | {'table': {'pair': 'EDSR-EDSR', 'method': 'all'}, 'dist_params': {'backend': 'auto', 'port': 29500}}


def prepare(world):
    """Make the runs that no case may harm."""
    if not (world.template / 'experiments').exists():
        world.make_runs(training(world))


def case(world, rng, folder):
    """Give one mutated option file to the launcher."""
    kind, base = rng.choice(bases(world))
    mutation = mutate(rng, base, kind, folder, world.canary)
    file = folder / 'options.yml'
    file.write_bytes(mutation.text)
    places, root = (world.folder, world.cases, folder), folder / 'root'
    known = [{entry.name for entry in place.iterdir()} | {'stdout', 'stderr', 'stack'} for place in places]
    before = hashes(world.data, *(root / 'experiments').iterdir())
    outcome = children.run(launch(kind, root, '-opt', file if mutation.file is None else mutation.file,
                                  *mutation.arguments, iterations=ITERATIONS), folder)
    troubles = [*judge(outcome, mutation.must), *code_ran(world.canary), *losses(before)]
    for place, names in zip(places, known, strict=True):
        troubles += newcomers(place, names)
    if not accepted(outcome) and mutation.must == REFUSE:
        # What can be told from the options alone is told before an older run is moved away.
        troubles += newcomers(root / 'experiments', {path.name for path in before if path.parent.parent == root})
    return f'{kind}: {mutation.words}', troubles, {'accepted': int(accepted(outcome))}
