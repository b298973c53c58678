"""Items of the paired dataset: crops, their rng, the stores they come from, and data that is refused."""
import random
from functools import partial
from itertools import product

import cv2
import numpy as np
import pytest
import refusals
import tiny
import torch
from torch.utils.data import DataLoader

from mipkd_model.data import DataError
from mipkd_model.data.paired_dataset import Crop, PairedSRDataset, Sample, draw_crop

from basicsr.data import build_dataloader, build_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.transforms import augment
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

refusal = partial(refusals.refusal, kind=DataError)

SCALE, SIDE = 2, 8
LQ_SIDE = SIDE // SCALE


def position_image(height, width, blue):
    """Every pixel says where it is: (row, column, blue)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full((height, width), blue)], 2).astype(np.uint8)


def halves(images):
    return {name: image[::SCALE, ::SCALE] for name, image in images.items()}


def pack(folder, gt, lq=None, write=tiny.raw_lmdb):
    return options(write(folder / 'gt.lmdb', gt), write(folder / 'lq.lmdb', halves(gt) if lq is None else lq))


def options(gt, lq, **changes):
    return {'name': 'pairs', 'type': 'PairedSRDataset', 'phase': 'train', 'scale': SCALE, 'gt_size': SIDE,
            'dataroot_gt': str(gt), 'dataroot_lq': str(lq), 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 1,
            **changes}


def folder_of(path, images, suffix=''):
    """Write RGB or gray arrays as PNG files. Returns the folder."""
    path.mkdir()
    for name, image in images.items():
        assert cv2.imwrite(str(path / f'{name}{suffix}.png'), image[..., ::-1] if image.ndim == 3 else image)
    return path


def png_lmdb(path, images):
    """Write arrays as BasicSR does, as an LMDB of PNG files. Returns its path."""
    files = folder_of(path.with_suffix(''), images)
    make_lmdb_from_imgs(str(files), str(path), [f'{name}.png' for name in images], list(images), map_size=2**20)
    return path


@pytest.fixture
def opt(tmp_path):
    return pack(tmp_path, {f'{i}': position_image(40 + 2 * i, 60, i) for i in range(4)})


def same(one, other):
    return torch.equal(one['gt'], other['gt']) and torch.equal(one['lq'], other['lq'])


def pixels(item, kind='gt'):
    return np.ascontiguousarray(item[kind].permute(1, 2, 0).numpy())


def samples(count, index=0, seed=3):
    return [Sample(index, seed, position) for position in range(count)]


def test_items_are_uint8_crops_of_the_asked_size_with_their_paths(opt):
    for key in (1, Sample(1, 3, 70)):
        item = PairedSRDataset(opt)[key]
        assert item['gt'].shape == (3, SIDE, SIDE) and item['lq'].shape == (3, LQ_SIDE, LQ_SIDE)
        assert item['gt'].dtype == item['lq'].dtype == torch.uint8
        assert item['gt'].is_contiguous() and item['lq'].is_contiguous()
        assert item['gt_path'] == item['lq_path'] == '1.png'
        assert item['gt'][2].unique().tolist() == item['lq'][2].unique().tolist() == [1]


def test_lq_and_gt_crops_show_the_same_place_in_the_same_orientation(opt):
    dataset = PairedSRDataset(opt)
    for index in range(100):
        item = dataset[index % 4]
        # Each lq pixel was the top-left one of its gt cell, which turns but stays the one with the least coordinates.
        cells = item['gt'].view(3, LQ_SIDE, SCALE, LQ_SIDE, SCALE)
        assert torch.equal(cells.amin((2, 4)), item['lq'])
        assert torch.equal(cells[:2].amax((2, 4)), item['lq'][:2] + SCALE - 1)


def test_an_item_shows_what_crop_of_says(tmp_path):
    images = {'a': tiny.noise(20, 14)}
    dataset = PairedSRDataset(pack(tmp_path, images))
    for key in samples(60):
        top, left, hflip, vflip, transpose = dataset.crop_of(key)
        for kind, image, zoom in (('gt', images['a'], SCALE), ('lq', halves(images)['a'], 1)):
            crop = image[top * zoom:(top + LQ_SIDE) * zoom, left * zoom:(left + LQ_SIDE) * zoom]
            crop = crop[:, ::-1] if hflip else crop
            crop = crop[::-1] if vflip else crop
            crop = crop.transpose(1, 0, 2) if transpose else crop
            assert np.array_equal(pixels(dataset[key], kind), crop)


def test_a_crop_is_turned_as_basicsr_turns_it(tmp_path, monkeypatch):
    images = {'a': tiny.noise(SIDE, SIDE)}
    dataset = PairedSRDataset(pack(tmp_path, images))  # of just the crop's size, which is taken whole
    seen = set()
    for key in samples(60):
        turns = dataset.crop_of(key)[2:]
        seen.add(turns)
        rng = iter(turns)
        monkeypatch.setattr(random, 'random', lambda rng=rng: 0.9 - 0.8 * next(rng))
        assert np.array_equal(pixels(dataset[key]), augment(images['a'].copy()))
    assert len(seen) == 8


@pytest.mark.parametrize('hflip, rot', [*product((False, True), repeat=2)])
def test_switched_off_turns_are_those_that_basicsr_leaves_out(tmp_path, monkeypatch, hflip, rot):
    image = tiny.noise(SIDE, SIDE)
    dataset = PairedSRDataset({**pack(tmp_path, {'a': image}), 'use_hflip': hflip, 'use_rot': rot})
    theirs = set()
    for turns in product((0, 1), repeat=3):
        rng = iter(turns)
        monkeypatch.setattr(random, 'random', lambda rng=rng: 0.9 - 0.8 * next(rng))
        theirs.add(np.ascontiguousarray(augment(image.copy(), hflip, rot)).tobytes())
    for keys in (samples(120), [0] * 120):
        assert {pixels(dataset[key]).tobytes() for key in keys} == theirs and len(theirs) == 2 ** (hflip + 2 * rot)


def test_all_places_and_turns_come_about_equally_often(tmp_path):
    dataset = PairedSRDataset(pack(tmp_path, {'a': position_image(12, 10, 0)}))
    crops = [dataset.crop_of(key) for key in samples(2400)]
    counts = {crop: crops.count(crop) for crop in set(crops)}
    assert counts.keys() == {Crop(*crop) for crop in product(range(3), range(2), *3 * [(False, True)])}
    assert 20 < min(counts.values()) and max(counts.values()) < 90  # 50 expected


def test_crops_of_plain_indices_come_from_the_whole_image(tmp_path):
    dataset = PairedSRDataset(pack(tmp_path, {'a': position_image(12, 10, 0)}))
    corners = {tuple(dataset[0]['gt'][:2].amin((1, 2)).tolist()) for _ in range(200)}
    assert corners == {*product((0, 2, 4), (0, 2))}


def test_a_crop_is_read_off_the_digits_of_a_number():
    def number(top, left, flips, rest=0):
        return top + 6 * (left + 10 * (flips + 8 * rest))

    draw = partial(draw_crop, height=9, width=13, side=4)
    assert draw(0) == (0, 0, False, False, False)
    assert draw(number(5, 9, 7, rest=10**30)) == (5, 9, True, True, True)
    assert draw(number(2, 3, 1)) == (2, 3, True, False, False)
    assert draw(number(2, 3, 2)) == (2, 3, False, True, False)
    assert draw(number(2, 3, 4)) == (2, 3, False, False, True)
    assert draw(number(2, 3, 7), use_hflip=False) == (2, 3, False, True, True)
    assert draw(number(2, 3, 7), use_rot=False) == (2, 3, True, False, False)


def test_an_item_of_a_sample_is_the_same_from_another_instance_whatever_was_read_before(opt):
    one, other = PairedSRDataset(opt), PairedSRDataset(opt)
    for key in reversed(samples(10, 2)):
        other[0], other[key]
    assert all(same(one[key], other[key]) for key in samples(10, 2))


@pytest.mark.parametrize('workers, start', [(0, None), (1, 'fork'), (3, 'fork'), (1, 'spawn')])
def test_an_item_of_a_sample_is_the_same_from_any_worker(opt, workers, start):
    dataset = PairedSRDataset(opt)
    keys = [Sample(position % 4, 3, position) for position in range(12)]
    items = list(DataLoader(dataset, None, sampler=keys, num_workers=workers, multiprocessing_context=start))
    assert len(items) == 12 and all(same(item, dataset[key]) for item, key in zip(items, keys, strict=True))


def test_an_item_differs_for_another_position_and_another_seed(tmp_path):
    dataset = PairedSRDataset(pack(tmp_path, {'a': tiny.noise(200, 200)}))
    crops = {dataset[Sample(0, seed, position)]['gt'].numpy().tobytes() for seed in range(6) for position in range(6)}
    assert len(crops) == 36


def epoch(loader):
    return {batch['gt_path'][0]: batch['gt'].numpy().tobytes() for batch in loader}


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('look', [False, True])
def test_draws_of_plain_indices_differ_between_epochs_in_basicsrs_own_loader(opt, workers, look):
    dataset = build_dataset(opt)
    if look:
        dataset[0]
    loader = build_dataloader(dataset, {**opt, 'num_worker_per_gpu': workers}, num_gpu=0, seed=0)
    first, second = epoch(loader), epoch(loader)
    assert first.keys() == second.keys() == {f'{i}.png' for i in range(4)}
    assert all(first[name] != second[name] for name in first)


def test_draws_of_plain_indices_differ_between_workers(tmp_path):
    opt = pack(tmp_path, {f'{i}': position_image(40, 60, 0) for i in range(4)})
    loader = build_dataloader(build_dataset(opt), {**opt, 'num_worker_per_gpu': 2}, num_gpu=0, seed=0)
    assert len(set(epoch(loader).values())) == 4


def test_draws_of_plain_indices_are_the_same_again_for_the_same_seed(opt):
    first, second = (epoch(build_dataloader(build_dataset(opt), opt, num_gpu=0, seed=0))
                     for _ in range(2) if torch.manual_seed(5))
    assert first == second


def test_every_kind_of_store_gives_the_same_items_also_mixed(tmp_path):
    gt = {f'{i}': tiny.noise(20 + i, 27, i) for i in range(3)}
    lq = {name: image[:image.shape[0] // 2 * 2:SCALE, :26:SCALE] for name, image in gt.items()}
    (tmp_path / 'png').mkdir()
    raw_opt, png_opt = pack(tmp_path, gt, lq), pack(tmp_path / 'png', gt, lq, png_lmdb)
    folder_opt = options(folder_of(tmp_path / 'HR', gt), folder_of(tmp_path / 'LR', lq))
    mixed = options(raw_opt['dataroot_gt'], folder_of(tmp_path / 'X2', lq, suffix='x2'))
    for phase in ('train', 'val'):
        one, *others = (PairedSRDataset({**opt, 'phase': phase}) for opt in (raw_opt, png_opt, folder_opt, mixed))
        for key in [Sample(position % 3, 5, position) for position in range(9)]:
            assert all(same(one[key], other[key]) for other in others)
            assert {other[key]['gt_path'] for other in others} == {one[key]['gt_path']} == {f'{key.index}.png'}
    assert others[-1][0]['lq_path'] == '0x2.png'


def test_a_gray_image_in_a_folder_has_three_equal_channels(tmp_path):
    gt = {'a': tiny.noise(12, 16)[..., 0]}
    opt = options(folder_of(tmp_path / 'HR', gt), folder_of(tmp_path / 'LR', halves(gt)), phase='val')
    item = PairedSRDataset(opt)[0]
    assert all(np.array_equal(plane.numpy(), gt['a']) for plane in item['gt'])
    assert all(np.array_equal(plane.numpy(), halves(gt)['a']) for plane in item['lq'])


def test_validation_gives_whole_images_cut_to_the_scale(tmp_path):
    gt = position_image(13, 11, 0)
    opt = pack(tmp_path, {'a': gt}, {'a': gt[:12:SCALE, :10:SCALE]})
    del opt['gt_size']
    item = PairedSRDataset({**opt, 'phase': 'val'})[0]
    assert np.array_equal(pixels(item, 'gt'), gt[:12, :10])
    assert np.array_equal(pixels(item, 'lq'), gt[:12:SCALE, :10:SCALE])


def test_validation_gives_the_images_of_basicsrs_own_dataset(tmp_path):
    gt = {f'{i}': tiny.noise(13, 10 + i, i) for i in range(3)}
    lq = {name: image[:12:SCALE, :image.shape[1] // 2 * 2:SCALE] for name, image in gt.items()}
    opt = options(folder_of(tmp_path / 'HR', gt), folder_of(tmp_path / 'LR', lq, suffix='x2'), phase='val')
    ours = PairedSRDataset(opt)
    theirs = PairedImageDataset({**opt, 'filename_tmpl': '{}x2', 'io_backend': {'type': 'disk'}})
    assert len(ours) == len(theirs) == 3
    for item in theirs:  # in the file system's order
        index = int(item['gt_path'][-5])
        assert same(ours[index], {key: (item[key] * 255).round().to(torch.uint8) for key in ('gt', 'lq')})


def test_training_and_validation_can_read_the_same_database(opt):
    train, val = PairedSRDataset(opt), PairedSRDataset({**opt, 'phase': 'val'})
    assert train[0]['gt'].shape == (3, SIDE, SIDE) and val[0]['gt'].shape == (3, 40, 60)
    assert len(train) == len(val) == 4


@pytest.mark.parametrize('gt, lq, fault', [('ab', 'a', "no lq image of that name or with x2 behind, such as 'b'"),
                                           ('a', 'ab', "1 lq images have no gt image, such as 'b'")])
def test_images_that_only_one_store_has_are_named(tmp_path, gt, lq, fault):
    image = position_image(16, 16, 0)
    opt = pack(tmp_path, dict.fromkeys(gt, image), dict.fromkeys(lq, image[::SCALE, ::SCALE]))
    message = refusal(PairedSRDataset, opt)
    assert opt['dataroot_gt'] in message and opt['dataroot_lq'] in message and fault in message


def test_images_of_sizes_that_do_not_fit_are_named_with_both_sizes(tmp_path):
    image = position_image(16, 20, 0)
    message = refusal(PairedSRDataset, pack(tmp_path, {'a': image}, {'a': image[::4, ::4]}))
    assert "'a' is 5x4" in message and 'x2 of its gt 20x16 would be 10x8' in message


def test_images_smaller_than_the_crop_are_named_with_the_option_that_leaves_them_out(tmp_path):
    message = refusal(PairedSRDataset, pack(tmp_path, {'a': position_image(6, 20, 0)}))
    assert "'a' is 20x6, smaller than gt_size 8" in message and '--min-side 8' in message
