"""The order of training samples, the loaders that follow it, and runs of an exact length."""
import logging
import re
import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import pytest
import runs
import torch
from torch.utils.data import DataLoader

from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.run.sampler import Prefetcher, TrainingOrder, create_train_val_dataloader

LOGGER = logging.getLogger('test')
IMAGES = 7


def order(**changes):
    """Keys of the samples, by default of 12 passes over 7 images in 21 batches of 4."""
    return list(TrainingOrder(**{'num_images': IMAGES, 'batch_size': 4, 'total_iter': 21, 'seed': 3, **changes}))


def indices(keys):
    return [key.index for key in keys]


def passes(keys):
    return [keys[start:start + IMAGES] for start in range(0, len(keys), IMAGES)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Data of seven images, LMDBs and files."""
    folder = tmp_path_factory.mktemp('data')
    pack_pairs(runs.photographs(folder / 'hr', IMAGES), folder, [2])
    runs.photographs(folder / 'lr', IMAGES, 20, 26)
    return folder


@pytest.fixture
def opt(folder):
    """Options as BasicSR's parser hands them to the pipeline."""
    opt = {**runs.options(folder, total_iter=9), 'dist': False, 'world_size': 1, 'rank': 0}
    for phase, block in opt['datasets'].items():
        block.update(phase=phase, scale=opt['scale'])
    return opt


def test_each_pass_holds_every_image_once_and_batches_run_on_over_its_end():
    keys = order()
    assert len(keys) == 84 and all(sorted(indices(part)) == list(range(IMAGES)) for part in passes(keys))
    assert [key.position for key in keys] == list(range(84)) and {key.seed for key in keys} == {3}


def test_nothing_is_dropped_when_the_last_pass_is_not_whole():
    keys = order(total_iter=5)
    assert len(keys) == 20 and keys == order()[:20]


def test_the_images_of_each_pass_are_shuffled_anew():
    parts = passes(indices(order()))
    assert len(set(map(tuple, parts))) == len(parts)


def test_the_order_is_the_same_for_the_same_seed_only_whatever_torch_drew_before():
    one = order()
    torch.rand(5)
    assert order() == one and indices(order(seed=4)) != indices(one)


def test_an_order_draws_no_random_numbers():
    before = torch.get_rng_state()
    order()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('start', [0, 2, 21, 30])
def test_an_order_started_later_is_the_rest_of_the_whole_one(start):
    keys = order(start_iter=start)
    assert keys == order()[4 * start:]
    assert len(keys) == len(TrainingOrder(IMAGES, 4, 21, start_iter=start))


def test_an_order_can_be_run_through_again():
    sampler = TrainingOrder(IMAGES, 4, 3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) == first


@pytest.mark.parametrize('start', [0, 5])
def test_two_processes_together_read_the_batches_of_one(start):
    parts = [order(batch_size=2, world_size=2, rank=rank, start_iter=start) for rank in range(2)]
    together = [key for first in range(0, len(parts[0]), 2) for part in parts for key in part[first:first + 2]]
    assert together == order(start_iter=start)


def test_without_shuffling_each_pass_is_in_the_images_order():
    assert indices(order(shuffle=False)) == [*range(IMAGES)] * 12


def test_no_pass_repeats_the_crops_of_another(opt):
    dataset = PairedSRDataset(opt['datasets']['train'])
    shown = [tuple((key.index, dataset.crop_of(key)) for key in part) for part in passes(order(total_iter=70))]
    assert len(set(shown)) == len({frozenset(part) for part in shown}) == 40
    assert len({crop for part in shown for crop in part}) > 0.9 * 40 * IMAGES


def content(loader):
    return [(batch['lq'].numpy().tobytes(), batch['gt'].numpy().tobytes(), batch['gt_path']) for batch in loader]


def test_batches_are_the_same_with_any_number_of_workers(opt):
    dataset = PairedSRDataset(opt['datasets']['train'])
    none, one, three = (content(DataLoader(dataset, 4, sampler=TrainingOrder(IMAGES, 4, 6), num_workers=workers))
                        for workers in (0, 1, 3))
    assert len(none) == 6 and none == one == three


def test_training_data_ends_after_exactly_the_iterations_asked_for(opt):
    loader, sampler, val_loaders, last_epoch, total_iter = create_train_val_dataloader(opt, LOGGER)
    batches = content(loader)
    assert len(batches) == len(loader) == 9 and all(len(names) == 2 for *_, names in batches)
    assert isinstance(sampler, TrainingOrder) and (last_epoch, total_iter) == (0, 9)
    assert [len(val) for val in val_loaders] == [IMAGES]
    for workers in (0, 2):
        opt['start_iter'] = 6
        opt['datasets']['train']['num_worker_per_gpu'] = workers
        assert content(create_train_val_dataloader(opt, LOGGER)[0]) == batches[6:]


def test_a_dataset_of_basicsrs_own_is_read_in_the_same_order(opt, folder):
    opt['datasets']['train'].update(type='PairedImageDataset', io_backend={'type': 'disk'},
                                    dataroot_gt=str(folder / 'hr'), dataroot_lq=str(folder / 'lr'))
    loader, sampler, *_ = create_train_val_dataloader(opt, LOGGER)
    names = [path for batch in loader for path in batch['gt_path']]
    assert len(names) == 18 and len(set(names[:IMAGES])) == len(set(names[IMAGES:2 * IMAGES])) == IMAGES
    assert names == [loader.dataset.dataset.paths[key.index]['gt_path'] for key in sampler]


@pytest.mark.parametrize('workers', [0, 2])
def test_samples_of_a_dataset_of_basicsrs_own_are_cropped_alike_after_resuming(opt, folder, workers):
    opt['datasets']['train'].update(type='PairedImageDataset', io_backend={'type': 'disk'}, num_worker_per_gpu=workers,
                                    dataroot_gt=str(folder / 'hr'), dataroot_lq=str(folder / 'lr'))
    loaders = [create_train_val_dataloader({**deepcopy(opt), 'start_iter': start}, LOGGER)[0] for start in (0, 2)]
    whole, rest = ([batch['lq'] for batch in loader] for loader in loaders)
    assert len(rest) == len(whole) - 2
    assert all(torch.equal(one, other) for one, other in zip(whole[2:], rest, strict=True))


def test_a_prefetcher_gives_all_batches_then_none_and_starts_workers_once():
    starts = []

    class Loader:
        def __iter__(self):
            starts.append(1)
            return iter([1, 2, 3])

    prefetcher = Prefetcher(Loader())
    prefetcher.reset()
    assert [prefetcher.next() for _ in range(5)] == [1, 2, 3, None, None] and len(starts) == 1


def launch(root, opt, *more):
    """Start the launcher on options, with results below ``root``."""
    root.mkdir(exist_ok=True)
    code = (f'import sys; sys.path.append({str(runs.ROOT)!r}); import torch; torch.set_num_threads(1); '
            f'from mipkd_model.launch import train; sys.exit(train({str(root)!r}))')
    return subprocess.Popen([sys.executable, '-c', code, '-opt', str(runs.option_file(root, opt)), *more], cwd=root,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
    output, _ = process.communicate(timeout=300)
    return SimpleNamespace(status=process.returncode, output=output)


@pytest.fixture(scope='module')
def launched(folder, tmp_path_factory):
    """Runs of five iterations with batches of 2 of 7 images, by name: their folder, exit status and output."""
    root = tmp_path_factory.mktemp('runs')
    opt = runs.options(folder, total_iter=5)
    opt['val']['val_freq'] = 100  # but at the end
    opt['logger'].update(print_freq=1, save_checkpoint_freq=5)

    def start(name, workers, *more, **data):
        changed = deepcopy(opt)
        changed['datasets']['train'].update(num_worker_per_gpu=workers, **data)
        return launch(root / name, changed, *more)

    runs.photographs(root / 'lr', 2, 20, 26)
    file = runs.photographs(root / 'hr', 2)[1]
    file.write_bytes(file.read_bytes()[:-200])
    started = {'plain': start('plain', 0), 'workers': start('workers', 2),
               'stopped': start('resumed', 2, '--force_yml', 'train:total_iter=2', 'logger:save_checkpoint_freq=2'),
               'corrupt': start('corrupt', 1, dataroot_gt=str(root / 'hr'), dataroot_lq=str(root / 'lr'))}
    done = {name: finish(process) for name, process in started.items()}
    done['resumed'] = finish(start('resumed', 2, '--auto_resume'))
    for name, run in done.items():
        run.root = root / ('resumed' if name == 'stopped' else name)
        run.saved = run.root / 'experiments/tiny'
    return done


def iterations(output):
    return [int(number) for number in re.findall(r'\[epoch: +\d+, iter: +(\d+),', output)]


@pytest.mark.parametrize('name, logged', [('plain', [1, 2, 3, 4, 5]), ('workers', [1, 2, 3, 4, 5]), ('stopped', [1, 2]),
                                          ('resumed', [3, 4, 5])])
def test_a_run_ends_after_exactly_its_iterations(launched, name, logged):
    run = launched[name]
    assert run.status == 0, run.output
    assert iterations(run.output) == logged
    assert re.findall(r'# psnr: .*Best: .* @ (\d+) iter', run.output) == [str(logged[-1])]
    assert 'Training on 7 images' in run.output


@pytest.mark.parametrize('name', ['plain', 'workers', 'resumed'])
def test_the_last_iteration_is_saved_with_its_state(launched, name):
    saved = launched[name].saved
    assert (saved / 'training_states/5.state').is_file() and (saved / 'models/net_g_5.pth').is_file()
    assert (saved / 'models/net_g_latest.pth').is_file()
    assert torch.load(saved / 'training_states/5.state', weights_only=True)['iter'] == 5


def test_a_resumed_run_says_where_it_goes_on(launched):
    assert 'Resuming training from epoch: 0, iter: 2.' in launched['resumed'].output


def test_a_run_comes_to_the_same_bits_with_and_without_workers(launched):
    same_weights(launched['plain'], launched['workers'])


def test_a_resumed_run_comes_to_the_bits_of_one_that_was_not_stopped(launched):
    same_weights(launched['plain'], launched['resumed'])


def same_weights(one, other):
    ours, theirs = (torch.load(run.saved / 'models/net_g_latest.pth', weights_only=True) for run in (one, other))
    for kind in ('params', 'params_ema'):
        assert ours[kind].keys() == theirs[kind].keys()
        assert all(torch.equal(ours[kind][key], theirs[kind][key]) for key in ours[kind]), kind


def test_a_corrupt_image_that_a_worker_meets_ends_the_run_in_one_line_that_names_it(launched):
    run = launched['corrupt']
    lines = [line for line in run.output.splitlines() if line.startswith('error: ')]
    assert run.status == 1 and 'Start training' in run.output and 'Traceback' not in run.output, run.output
    assert len(lines) == 1 and 'hr/0001.png: is cut short or corrupt' in lines[0]
