import json
import multiprocessing
import pickle
import shutil

import cv2
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mipkd_arch.errors import UserError
from mipkd_model.data.pack import list_images, pack_pairs, read_image, shrink
from mipkd_model.data.paired_raw_dataset import PairedRawLMDBDataset
from mipkd_model.data.raw_lmdb import INDEX_KEY, DataError, RawLmdb, write_raw_lmdb

from basicsr.data import build_dataloader, build_dataset


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def refusal(function, *args, kind=DataError, **kwargs):
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    assert '\n' not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- raw LMDB


IMAGES = {'b': noise(7, 9, 1), 'a': noise(5, 4, 2), 'ünicode name': noise(3, 3, 3)}


@pytest.fixture
def database(tmp_path):
    write_raw_lmdb(tmp_path / 'images.lmdb', IMAGES.items())
    return tmp_path / 'images.lmdb'


def test_images_come_back_as_they_were_in_the_order_of_packing(database):
    reader = RawLmdb(database)
    assert list(reader.shapes.items()) == [(name, image.shape) for name, image in IMAGES.items()]
    for name, image in IMAGES.items():
        assert reader.read(name).dtype == np.uint8
        assert np.array_equal(reader.read(name), image)


def test_writing_gives_the_number_of_images(tmp_path):
    assert write_raw_lmdb(tmp_path / 'images.lmdb', IMAGES.items()) == 3


@pytest.mark.parametrize('top, left, height, width', [(0, 0, 7, 9), (2, 3, 4, 5), (6, 8, 1, 1), (0, 4, 3, 5)])
def test_crops_are_slices_of_the_image(database, top, left, height, width):
    crop = RawLmdb(database).read('b', top, left, height, width)
    assert np.array_equal(crop, IMAGES['b'][top:top + height, left:left + width])


def test_crops_can_be_written_to(database):
    reader = RawLmdb(database)
    reader.read('b', 0, 0, 3, 3)[:] = 0
    assert np.array_equal(reader.read('b'), IMAGES['b'])


def test_images_need_not_lie_contiguously_in_memory(tmp_path):
    write_raw_lmdb(tmp_path / 'images.lmdb', [('turned', IMAGES['b'].transpose(1, 0, 2)[::-1])])
    assert np.array_equal(RawLmdb(tmp_path / 'images.lmdb').read('turned'), IMAGES['b'].transpose(1, 0, 2)[::-1])


def test_a_reader_can_be_pickled_after_it_was_used(database):
    reader = RawLmdb(database)
    reader.read('a')
    data = pickle.dumps(reader)
    del reader
    assert np.array_equal(pickle.loads(data).read('b'), IMAGES['b'])


def test_two_readers_of_one_database_live_in_one_process(database):
    first = RawLmdb(database)
    first.read('a')
    assert np.array_equal(RawLmdb(database).read('b'), IMAGES['b'])
    assert np.array_equal(first.read('b'), IMAGES['b'])


def test_a_reader_of_a_database_that_was_packed_anew_says_so_and_a_new_reader_reads_it(database):
    old = RawLmdb(database)
    shutil.rmtree(database)
    write_raw_lmdb(database, [('a', IMAGES['b'])])
    assert np.array_equal(RawLmdb(database).read('a'), IMAGES['b'])
    assert 'packed anew' in refusal(old.read, 'a')


def _answer(reader, queue):
    queue.put(reader.read('b').tobytes())


def test_a_reader_in_use_can_cross_a_fork(database):
    reader = RawLmdb(database)
    reader.read('a')
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_answer, args=(reader, queue))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get(timeout=5) == IMAGES['b'].tobytes()
    assert np.array_equal(reader.read('b'), IMAGES['b'])


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def interrupted():
        yield 'a', IMAGES['a']
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_raw_lmdb(tmp_path / 'images.lmdb', interrupted())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_left_is_cleared_away(tmp_path):
    (tmp_path / 'images.lmdb.part').mkdir()
    (tmp_path / 'images.lmdb.part/data.mdb').write_bytes(b'cut short')
    write_raw_lmdb(tmp_path / 'images.lmdb', IMAGES.items())
    assert [file.name for file in tmp_path.iterdir()] == ['images.lmdb']


def test_an_existing_database_is_left_alone(database):
    message = refusal(write_raw_lmdb, database, [('c', IMAGES['a'])])
    assert str(database) in message and 'exists already' in message
    assert list(RawLmdb(database).shapes) == list(IMAGES)


def test_a_database_grows_beyond_its_first_map(tmp_path):
    large = np.zeros((4800, 4800, 3), np.uint8)  # 69 MB; the first map has 67
    large[-1, -1] = 7
    write_raw_lmdb(tmp_path / 'images.lmdb', [('a', IMAGES['a']), ('large', large), ('b', IMAGES['b'])])
    reader = RawLmdb(tmp_path / 'images.lmdb')
    assert reader.read('large', 4799, 4799).tolist() == [[[7, 7, 7]]]
    assert np.array_equal(reader.read('a'), IMAGES['a']) and np.array_equal(reader.read('b'), IMAGES['b'])


@pytest.mark.parametrize('image', [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                                   np.zeros((4, 4, 3), np.float32)], ids=lambda image: f'{image.dtype}{image.shape}')
def test_an_image_that_is_not_uint8_rgb_is_refused(tmp_path, image):
    message = refusal(write_raw_lmdb, tmp_path / 'images.lmdb', [('odd', image)])
    assert "'odd'" in message and str(image.dtype) in message and str(image.shape) in message


def test_two_images_of_one_name_are_refused(tmp_path):
    assert "two images are named 'a'" in refusal(write_raw_lmdb, tmp_path / 'images.lmdb',
                                                 [('a', IMAGES['a']), ('a', IMAGES['b'])])


def test_a_folder_without_a_database_is_refused(tmp_path):
    message = refusal(RawLmdb, tmp_path / 'absent.lmdb')
    assert str(tmp_path / 'absent.lmdb') in message and 'no such LMDB' in message


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / 'data.mdb').write_bytes(b'no database' * 1000)
    message = refusal(RawLmdb, tmp_path)
    assert str(tmp_path) in message and 'pack it anew' in message


@pytest.mark.parametrize('content', [{b'0001': b'a PNG'},
                                     {INDEX_KEY: json.dumps({'format': 2, 'images': {}}).encode()}],
                         ids=['of PNG files', 'of a later format'])
def test_a_database_of_another_format_is_refused(tmp_path, content):
    with lmdb.open(str(tmp_path / 'other.lmdb')) as env, env.begin(write=True) as txn:
        for key, value in content.items():
            txn.put(key, value)
    assert str(tmp_path / 'other.lmdb') in refusal(RawLmdb, tmp_path / 'other.lmdb')


def test_an_unknown_image_name_is_refused(database):
    assert refusal(RawLmdb(database).read, 'c') == f"{database}: has no image 'c'"


# ---------------------------------------------------------------- packing


def write_png(file, image):
    file.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(file), image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return file


@pytest.fixture
def pngs(tmp_path):
    """Three gt files (the last one small) and their x4 lq files, named as in DIV2K."""
    hr = [write_png(tmp_path / f'HR/{name}.png', noise(height, 24, seed))
          for seed, (name, height) in enumerate({'0001': 18, '0002': 32, '0003': 8}.items())]
    lr = [write_png(tmp_path / f'LR/{file.stem}x4.png', read_image(file)[:16:4, ::4]) for file in hr]
    return hr, lr


def test_pairs_are_packed_under_the_names_of_the_gt_files(tmp_path, pngs):
    hr, lr = pngs
    assert pack_pairs(hr, tmp_path / 'gt', tmp_path / 'lq', 4, lr) == (3, 0)
    gt, lq = RawLmdb(tmp_path / 'gt'), RawLmdb(tmp_path / 'lq')
    assert list(gt.shapes) == list(lq.shapes) == ['0001', '0002', '0003']
    for hr_file, lr_file in zip(hr, lr, strict=True):
        assert np.array_equal(lq.read(hr_file.stem), read_image(lr_file))


def test_gt_is_cropped_to_multiples_of_the_scale(tmp_path, pngs):
    pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1])
    assert np.array_equal(RawLmdb(tmp_path / 'gt').read('0001'), noise(18, 24, 0)[:16])


def test_lq_files_may_be_named_as_gt(tmp_path, pngs):
    lr = [file.rename(file.with_name(file.name.replace('x4', ''))) for file in pngs[1]]
    pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, lr)
    assert list(RawLmdb(tmp_path / 'lq').shapes) == ['0001', '0002', '0003']


def test_without_lq_files_gt_is_shrunk(tmp_path, pngs):
    pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 2)
    gt, lq = RawLmdb(tmp_path / 'gt'), RawLmdb(tmp_path / 'lq')
    assert lq.shapes == {'0001': (9, 12, 3), '0002': (16, 12, 3), '0003': (4, 12, 3)}
    assert np.array_equal(lq.read('0002'), shrink(gt.read('0002'), 2))


def test_small_images_are_left_out_of_both(tmp_path, pngs):
    assert pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1], min_side=16) == (2, 1)
    assert list(RawLmdb(tmp_path / 'gt').shapes) == list(RawLmdb(tmp_path / 'lq').shapes) == ['0001', '0002']


def test_a_missing_lq_file_is_named_before_anything_is_written(tmp_path, pngs):
    message = refusal(pack_pairs, pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1][:1])
    assert "no x4 image for '0002' (2 are missing)" in message
    assert not (tmp_path / 'gt').exists()


def test_an_existing_lq_database_stops_packing_before_gt_is_written(tmp_path, pngs):
    (tmp_path / 'lq').mkdir()
    assert str(tmp_path / 'lq') in refusal(pack_pairs, pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1])
    assert not (tmp_path / 'gt').exists()


def test_packing_can_be_repeated_after_a_broken_lq_file_was_mended(tmp_path, pngs):
    hr, lr = pngs
    good = lr[1].read_bytes()
    lr[1].write_bytes(b'broken')
    assert str(lr[1]) in refusal(pack_pairs, hr, tmp_path / 'gt', tmp_path / 'lq', 4, lr)
    lr[1].write_bytes(good)
    assert pack_pairs(hr, tmp_path / 'gt', tmp_path / 'lq', 4, lr) == (3, 0)


def test_a_gray_image_becomes_three_equal_channels(tmp_path):
    gray = noise(6, 5)[..., 0]
    assert np.array_equal(read_image(write_png(tmp_path / 'gray.png', gray)), np.stack([gray] * 3, 2))


def test_images_are_read_as_rgb(tmp_path):
    assert np.array_equal(read_image(write_png(tmp_path / 'colour.png', IMAGES['b'])), IMAGES['b'])


def test_a_broken_image_file_is_named(tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no image')
    assert str(tmp_path / 'broken.png') in refusal(read_image, tmp_path / 'broken.png')


def test_images_of_a_folder_are_listed_by_name(tmp_path):
    for name in ('b.png', 'a.PNG', 'notes.txt', 'c.jpg'):
        (tmp_path / name).touch()
    assert [file.name for file in list_images(tmp_path)] == ['a.PNG', 'b.png', 'c.jpg']


@pytest.mark.parametrize('folder, word', [('absent', 'no such folder'), ('empty', 'holds no images')])
def test_a_folder_without_images_is_refused(tmp_path, folder, word):
    (tmp_path / 'empty').mkdir()
    message = refusal(list_images, tmp_path / folder)
    assert str(tmp_path / folder) in message and word in message


@pytest.mark.parametrize('scale, size', [(2, (10, 15)), (3, (7, 10)), (4, (5, 7))])
def test_shrinking_a_gradient_gives_a_gradient_of_the_right_size(scale, size):
    gradient = np.broadcast_to(np.arange(31, dtype=np.uint8)[None, :, None] * 8, (21, 31, 3))
    lr = shrink(gradient, scale)
    assert lr.dtype == np.uint8 and lr.shape == (*size, 3)
    centres = (np.arange(size[1]) * scale + (scale - 1) / 2) * 8
    assert np.abs(lr[:, 2:-2] - centres[None, 2:-2, None]).max() <= 0.5


# ---------------------------------------------------------------- paired dataset


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
