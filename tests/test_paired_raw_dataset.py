"""Crops, their orientations and their draws, and data that is refused."""

from functools import partial

import numpy as np
import pytest
import refusals
import torch
from torch.utils.data import DataLoader

from mipkd_arch.errors import UserError
from mipkd_model.data.paired_raw_dataset import PairedRawLMDBDataset
from mipkd_model.data.raw_lmdb import DataError, write_raw_lmdb

from basicsr.data import build_dataloader, build_dataset

refusal = partial(refusals.refusal, kind=DataError)


SCALE, SIDE = 2, 8


def position_image(height, width, blue):
    """Every pixel says where it is: (row, column, blue)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full((height, width), blue)], 2).astype(np.uint8)


def pack(folder, gt, lq=None):
    lq = {name: image[::SCALE, ::SCALE] for name, image in gt.items()} if lq is None else lq
    write_raw_lmdb(folder / 'gt.lmdb', gt.items())
    write_raw_lmdb(folder / 'lq.lmdb', lq.items())
    return options(folder)


def options(folder, **changes):
    return {'name': 'pairs', 'type': 'PairedRawLMDBDataset', 'phase': 'train', 'scale': SCALE, 'gt_size': SIDE,
            'dataroot_gt': str(folder / 'gt.lmdb'), 'dataroot_lq': str(folder / 'lq.lmdb'),
            'batch_size_per_gpu': 1, 'num_worker_per_gpu': 1, **changes}


@pytest.fixture
def opt(tmp_path):
    return pack(tmp_path, {f'{i}': position_image(40 + 2 * i, 60, i) for i in range(4)})


def orientation(lq):
    """How rows and columns of the image run through a crop: one of eight."""
    rows, columns = lq[0].int(), lq[1].int()
    return tuple((x[1, 0] - x[0, 0]).sign().item() for x in (rows, columns)) \
        + tuple((x[0, 1] - x[0, 0]).sign().item() for x in (rows, columns))


def test_items_are_uint8_crops_of_the_asked_size_with_their_paths(opt):
    item = PairedRawLMDBDataset(opt)[1]
    assert item['gt'].shape == (3, SIDE, SIDE) and item['lq'].shape == (3, SIDE // SCALE, SIDE // SCALE)
    assert item['gt'].dtype == item['lq'].dtype == torch.uint8
    assert item['gt_path'] == item['lq_path'] == '1.png'
    assert item['gt'][2].unique().tolist() == item['lq'][2].unique().tolist() == [1]


def test_lq_and_gt_crops_show_the_same_place_in_the_same_orientation(opt):
    dataset, side = PairedRawLMDBDataset(opt), SIDE // SCALE
    for index in range(100):
        item = dataset[index % 4]
        # Each lq pixel was the top-left one of its gt cell, which turns but stays the one with the least coordinates.
        cells = item['gt'].view(3, side, SCALE, side, SCALE)
        assert torch.equal(cells.amin((2, 4)), item['lq'])
        assert torch.equal(cells[:2].amax((2, 4)), item['lq'][:2] + SCALE - 1)


@pytest.mark.parametrize('flip, turn, count', [(True, True, 8), (False, True, 4), (True, False, 2), (False, False, 1)])
def test_crops_are_flipped_and_turned_as_asked(opt, flip, turn, count):
    dataset = PairedRawLMDBDataset({**opt, 'use_hflip': flip, 'use_rot': turn})
    assert len({orientation(dataset[0]['lq']) for _ in range(120)}) == count


def test_without_flips_and_turns_crops_stand_upright(opt):
    dataset = PairedRawLMDBDataset({**opt, 'use_hflip': False, 'use_rot': False})
    assert orientation(dataset[0]['lq']) == (1, 0, 0, 1)


def test_crops_come_from_the_whole_image(tmp_path):
    dataset = PairedRawLMDBDataset(pack(tmp_path, {'a': position_image(12, 10, 0)}))
    corners = {tuple(dataset[0]['gt'][:2].amin((1, 2)).tolist()) for _ in range(200)}
    assert corners == {(top, left) for top in (0, 2, 4) for left in (0, 2)}


def test_an_image_of_just_the_crops_size_is_taken_whole(tmp_path):
    dataset = PairedRawLMDBDataset(pack(tmp_path, {'a': position_image(SIDE, SIDE, 0)}))
    assert dataset[0]['gt'][:2].amax((1, 2)).tolist() == [SIDE - 1, SIDE - 1]


def epoch(loader):
    return {batch['gt_path'][0]: batch['gt'].numpy().tobytes() for batch in loader}


def test_draws_differ_between_epochs_in_basicsrs_own_loader(opt):
    dataset = build_dataset(opt)
    loader = build_dataloader(dataset, opt, num_gpu=0, dist=False, sampler=None, seed=0)
    first, second = epoch(loader), epoch(loader)
    assert first.keys() == second.keys() == {f'{i}.png' for i in range(4)}
    assert all(first[name] != second[name] for name in first)


def test_draws_differ_between_epochs_after_the_dataset_was_looked_at(opt):
    dataset = build_dataset(opt)
    dataset[0]
    loader = build_dataloader(dataset, opt, num_gpu=0, dist=False, sampler=None, seed=0)
    first, second = epoch(loader), epoch(loader)
    assert all(first[name] != second[name] for name in first)


def test_draws_differ_between_epochs_without_workers(opt):
    loader = build_dataloader(build_dataset(opt), {**opt, 'num_worker_per_gpu': 0}, num_gpu=0, seed=0)
    first, second = epoch(loader), epoch(loader)
    assert all(first[name] != second[name] for name in first)


def test_draws_differ_between_workers(tmp_path):
    opt = pack(tmp_path, {f'{i}': position_image(40, 60, 0) for i in range(4)})
    loader = build_dataloader(build_dataset(opt), {**opt, 'num_worker_per_gpu': 2}, num_gpu=0, seed=0)
    assert len(set(epoch(loader).values())) == 4


def test_draws_are_the_same_again_for_the_same_seed(opt):
    epochs = []
    for _ in range(2):
        torch.manual_seed(5)
        epochs.append(epoch(build_dataloader(build_dataset(opt), opt, num_gpu=0, seed=0)))
    assert epochs[0] == epochs[1]


def test_a_dataset_works_in_spawned_workers(opt):
    dataset = PairedRawLMDBDataset(opt)
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context='spawn')
    assert [tuple(batch['gt'].shape) for batch in loader] == [(2, 3, SIDE, SIDE)] * 2


def test_validation_gives_whole_images_cut_to_the_scale(tmp_path):
    gt = position_image(13, 11, 0)
    opt = pack(tmp_path, {'a': gt}, {'a': gt[:12:SCALE, :10:SCALE]})
    del opt['gt_size']
    item = PairedRawLMDBDataset({**opt, 'phase': 'val'})[0]
    assert np.array_equal(item['gt'].permute(1, 2, 0).numpy(), gt[:12, :10])
    assert np.array_equal(item['lq'].permute(1, 2, 0).numpy(), gt[:12:SCALE, :10:SCALE])


def test_training_and_validation_can_read_the_same_database(opt):
    train, val = PairedRawLMDBDataset(opt), PairedRawLMDBDataset({**opt, 'phase': 'val'})
    assert train[0]['gt'].shape == (3, SIDE, SIDE) and val[0]['gt'].shape == (3, 40, 60)


def test_a_dataset_has_as_many_items_as_images(opt):
    assert len(PairedRawLMDBDataset(opt)) == 4


def test_images_that_only_one_database_has_are_named(tmp_path):
    image = position_image(16, 16, 0)
    opt = pack(tmp_path, {'a': image, 'b': image}, {'a': image[::SCALE, ::SCALE]})
    message = refusal(PairedRawLMDBDataset, opt)
    assert opt['dataroot_gt'] in message and opt['dataroot_lq'] in message and "'b' is in one only" in message


def test_images_of_sizes_that_do_not_fit_are_named_with_both_sizes(tmp_path):
    image = position_image(16, 20, 0)
    message = refusal(PairedRawLMDBDataset, pack(tmp_path, {'a': image}, {'a': image[::4, ::4]}))
    assert "'a' is 5x4" in message and 'x2 of its gt 20x16 would be 10x8' in message


def test_images_smaller_than_the_crop_are_named(tmp_path):
    message = refusal(PairedRawLMDBDataset, pack(tmp_path, {'a': position_image(6, 20, 0)}))
    assert "'a' is 20x6, smaller than gt_size 8" in message


def test_a_gt_size_that_is_no_multiple_of_the_scale_is_refused(opt):
    message = refusal(PairedRawLMDBDataset, {**opt, 'gt_size': 7}, kind=UserError)
    assert message == 'datasets.train.gt_size: 7 is not a multiple of scale 2'


def test_a_missing_gt_size_is_refused(opt):
    del opt['gt_size']
    assert 'gt_size' in refusal(PairedRawLMDBDataset, opt, kind=UserError)


def test_an_unknown_option_is_named_with_the_known_ones(opt):
    message = refusal(PairedRawLMDBDataset, {**opt, 'use_flip': True}, kind=UserError)
    assert "'use_flip'" in message and 'use_hflip' in message
