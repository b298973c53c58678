"""HR and LR images are found in the folder trees in which people keep them."""
from functools import partial

import pytest
import refusals

from mipkd_model.data import DataError
from mipkd_model.data.prepare.layouts import find_hr, find_lr, image_folders

refusal = partial(refusals.refusal, kind=DataError)

VALID = ['DIV2K_valid_HR', 'DIV2K_valid_LR_bicubic/X2', 'DIV2K_valid_LR_bicubic/X4']
UNKNOWN = ['DIV2K_train_LR_unknown/X2', 'DIV2K_train_LR_unknown/X4', 'DIV2K_train_LR_wild', 'DIV2K_train_LR_mild',
           'DIV2K_train_LR_difficult']
BICUBIC = ['DIV2K_train_LR_bicubic/X2', 'DIV2K_train_LR_bicubic/X3', 'DIV2K_train_LR_bicubic/X4']


@pytest.fixture
def tree(tmp_path):
    """Make folders with an image in each; returns their root."""
    def make(*folders):
        root = tmp_path / 'valid HR test LRx4'  # the way to the root says nothing
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / '0001.png').touch()
        return root
    return make


def test_folders_with_images_are_those_that_hold_them_directly(tree):
    root = tree('b/c', 'a', 'b/c/d')
    (root / 'e').mkdir()
    (root / 'e/notes.txt').touch()
    (root / 'f').mkdir()
    (root / 'f/A.JPG').touch()
    assert image_folders(root) == [root / 'a', root / 'b/c', root / 'b/c/d', root / 'f']


@pytest.mark.parametrize('hr', ['DIV2K_train_HR', 'DIV2K_train_HR/DIV2K_train_HR', 'DIV2K/DIV2K_train_HR', 'HR', 'hr',
                                'GT', 'train/HR', 'GTmod12', 'Flickr2K/Flickr2K_HR', 'original'])
@pytest.mark.parametrize('others', [[], BICUBIC, [*VALID, *UNKNOWN, *BICUBIC]], ids=['alone', 'with LR', 'with all'])
def test_the_folder_of_training_hr_images_is_found(tree, hr, others):
    root = tree(hr, *others)
    assert find_hr(root) == root / hr


@pytest.mark.parametrize('folder', ['.', 'photographs', 'my pictures/of 2020'])
def test_a_folder_of_nothing_but_images_is_hr(tree, folder):
    root = tree(folder)
    assert find_hr(root) == root / folder
    assert find_lr(root, 4) is None


def test_validation_images_serve_if_there_are_no_others(tree):
    root = tree(*VALID)
    assert find_hr(root) == root / 'DIV2K_valid_HR'
    assert find_lr(root, 4) == root / 'DIV2K_valid_LR_bicubic/X4'


@pytest.mark.parametrize('hr, lr', [
    ('DIV2K_train_HR', 'DIV2K_train_LR_bicubic/X{}'),
    ('DIV2K_train_HR/DIV2K_train_HR', 'DIV2K_train_LR_bicubic_X{0}/DIV2K_train_LR_bicubic/X{0}'),
    ('DIV2K_train_HR', 'DIV2K_train_LR_bicubic_X{}'),
    ('HR', 'LR_bicubic/X{}'),
    ('HR', 'LRx{}'),
    ('GT', 'LR/x{}'),
    ('train/HR', 'train/LR_bicubic/X{}'),
])
@pytest.mark.parametrize('others', [[], [*VALID, *UNKNOWN]], ids=['alone', 'with others'])
def test_lr_images_are_found_by_scale(tree, hr, lr, others):
    root = tree(hr, *(lr.format(scale) for scale in (2, 3, 4)), *others)
    assert find_hr(root) == root / hr
    for scale in (2, 3, 4):
        assert find_lr(root, scale) == root / lr.format(scale)


def test_without_lr_images_of_the_scale_there_are_none(tree):
    root = tree('HR', 'LR_bicubic/X2', 'LR_bicubic/X40', 'pictures/X4')
    assert find_lr(root, 4) is None


def test_lr_images_that_were_not_made_by_bicubic_shrinking_do_not_count(tree):
    assert find_lr(tree('DIV2K_train_HR', *UNKNOWN), 4) is None


def test_lr_images_of_the_validation_set_are_no_partners_of_training_images(tree):
    assert find_lr(tree('DIV2K_train_HR', *VALID), 4) is None


def test_several_folders_that_may_be_hr_are_named(tree):
    root = tree('DIV2K_train_HR', 'Flickr2K_HR')
    message = refusal(find_hr, root)
    assert message == (f'{root}: has 2 folders that may be the HR images: DIV2K_train_HR, Flickr2K_HR; '
                       'name one with mipkd data pack --hr')


def test_several_folders_of_mere_images_are_named(tree):
    assert 'has 2 folders that may be the HR images: a, b;' in refusal(find_hr, tree('a', 'b'))


def test_several_folders_that_may_be_lr_are_named(tree):
    root = tree('HR', 'LRx4', 'LR_bicubic/X4')
    message = refusal(find_lr, root, 4)
    assert message == (f'{root}: has 2 folders that may be the LR x4 images: LR_bicubic/X4, LRx4; '
                       'name one with mipkd data pack --lr')


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert refusal(find_hr, tmp_path / 'none') == f'{tmp_path / "none"}: no such folder'


def test_a_tree_without_hr_images_is_refused(tree):
    root = tree('LR_bicubic/X4')
    assert refusal(find_hr, root) == (
        f'{root}: has 0 folders that may be the HR images: none; name one with mipkd data pack --hr')
