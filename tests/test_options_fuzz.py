"""Mutated option files: one line for each mistake, never another exception, and nothing wrong is let through."""
from copy import deepcopy

import pytest
import runs
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mipkd_arch.base.errors import UserError
from mipkd_model.config.advice import advice
from mipkd_model.config.checks import find_in_options
from mipkd_model.config.reader import override, parse

QUICK = settings(derandomize=True, deadline=None, max_examples=150, database=None,
                 suppress_health_check=list(HealthCheck))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(
    [-1, 0, 1, 2, 0.5, 1e9, '0', 'auto', 'l1', 'L1Loss', 'EDSR', 'x' * 5000, 'a\0', 10**30, '1e-4', [], {}, [[]]]))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.text(st.characters(categories=('L', 'N', 'P')), max_size=8), inner, max_size=3), max_leaves=5)
NEEDED = ['name', 'model_type', 'scale', 'num_gpu', 'datasets', 'network_g', 'path', 'train', 'logger',
          'datasets.train', 'datasets.train.type', 'datasets.train.name', 'datasets.train.dataroot_gt',
          'datasets.train.dataroot_lq', 'datasets.train.gt_size', 'datasets.train.batch_size_per_gpu',
          'datasets.train.num_worker_per_gpu', 'datasets.val.name', 'datasets.val.type', 'network_g.type',
          'network_t.type', 'train.total_iter', 'train.optim_g',
          'train.optim_g.type', 'train.optim_g.lr', 'train.scheduler', 'train.scheduler.type',
          'train.scheduler.milestones', 'train.pixel_opt.type', 'val.val_freq', 'val.metrics.psnr.type',
          'logger.print_freq', 'logger.save_checkpoint_freq']


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    opt = runs.options(tmp_path_factory.mktemp('fuzz'))
    opt['train']['kd_opt']['schedule'] = {'type': 'linear', 'start': 0, 'end': 3}
    opt['train']['mixer_opt'] = {'latent': 4, 'kind': 'mlp'}
    assert not find_in_options(deepcopy(opt), True).errors
    return opt


def paths(block, prefix=()):
    """Paths of all options, those of blocks included."""
    for name, value in block.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, name))


def block_at(opt, path):
    """The block that has the option of a path."""
    for name in path[:-1]:
        opt = opt[name]
    return opt


def checked(opt, is_train=True):
    """The mistakes of options, each of which must be one line that begins with a path."""
    found = find_in_options(opt, is_train)
    for line in found.lines:
        assert ': ' in line and line.isprintable() and len(line) < 1200
    if not found.errors and is_train:
        advice(opt)
    return found.lines


@QUICK
@given(data=st.data(), value=VALUES, is_train=st.booleans())
def test_any_value_anywhere_is_checked_without_another_exception(base, data, value, is_train):
    opt = deepcopy(base)
    path = data.draw(st.sampled_from(list(paths(opt))))
    block_at(opt, path)[path[-1]] = value
    checked(opt, is_train)


@QUICK
@given(data=st.data(), value=VALUES, name=st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1))
def test_an_unknown_name_in_any_block_is_refused(base, data, value, name):
    opt = deepcopy(base)
    path = data.draw(st.sampled_from([path for path in paths(opt) if isinstance(block_at(opt, path)[path[-1]], dict)
                                      and path not in (('datasets', ), ('val', 'metrics'))]))
    block_at(opt, path)[path[-1]][f'{name}_unknown'] = value
    assert checked(opt)


@pytest.mark.parametrize('path', NEEDED)
@pytest.mark.parametrize('value', [{'a': []}, 'removed'], ids=str)
def test_a_required_option_that_is_broken_is_refused(base, path, value):
    opt, names = deepcopy(base), path.split('.')
    if value == 'removed':
        del block_at(opt, names)[names[-1]]
    else:
        block_at(opt, names)[names[-1]] = value
    assert checked(opt)


@QUICK
@given(data=st.data())
def test_a_file_with_damaged_text_is_read_or_refused(base, data):
    text = yaml.safe_dump(base, sort_keys=False)
    place = data.draw(st.integers(0, len(text)))
    text = text[:place] + data.draw(st.text(max_size=6)) + text[place + data.draw(st.integers(0, 6)):]
    try:
        opt = parse(text, 'file.yml')
    except UserError as error:
        assert str(error).startswith('file.yml:') and str(error).isprintable()
        return
    if isinstance(opt, dict):
        checked(opt)


@QUICK
@given(entry=st.text(max_size=30) | st.builds('{}={}'.format, st.sampled_from(['train:total_iter', 'val.tile', 'lr']),
                                              st.text(max_size=12)))
def test_any_entry_of_force_yml_is_taken_or_refused(base, entry):
    opt = deepcopy(base)
    try:
        override(opt, [entry])
    except UserError as error:
        assert str(error).isprintable()
        return
    checked(opt)
