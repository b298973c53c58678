"""``--force_yml``: options that a command line changes."""
import shlex
import sys
from copy import deepcopy

import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.reader import override
from mipkd_model.launch import parse_options

OPT = {'name': 'x', 'train': {'optim_g': {'lr': 1.0}, 'cuts_g': 3}, 'val': None}


@pytest.mark.parametrize('entry, path, value', [
    ('train:optim_g:lr=1e-4', ('train', 'optim_g', 'lr'), 0.0001),
    ('train:cuts_g=[body.1, 2]', ('train', 'cuts_g'), ['body.1', 2]),
    ('name=~', ('name', ), None), ('name=', ('name', ), None), ('name=true', ('name', ), True),
    ('name="true"', ('name', ), 'true'), ('name=none', ('name', ), 'none'), ('name=a=b', ('name', ), 'a=b'),
    ('val:metrics:psnr={type: x}', ('val', 'metrics', 'psnr'), {'type': 'x'}), (' name = 5 ', ('name', ), 5),
    ('train:optim_g:lr=!!float 5', ('train', 'optim_g', 'lr'), 5.0),
    ('train.optim_g.lr=3', ('train', 'optim_g', 'lr'), 3), ('train:optim_g.lr=3', ('train', 'optim_g', 'lr'), 3),
    ('val.save_img=true', ('val', 'save_img'), True), ('a.b=3', ('a', 'b'), 3)])
def test_a_value_is_read_as_in_the_file(entry, path, value):
    opt = deepcopy(OPT)
    override(opt, [entry])
    found = opt
    for name in path:
        found = found[name]
    assert found == value and type(found) is type(value)


def test_a_name_of_ones_own_may_have_dots():
    opt = {'val': {'metrics': {'psnr.y': {}}}}
    override(opt, ['val:metrics:psnr.y={type: x}'])
    assert opt == {'val': {'metrics': {'psnr.y': {'type': 'x'}}}}


def test_nothing_else_is_changed():
    opt = deepcopy(OPT)
    override(opt, ['train:cuts_g=4'])
    opt['train']['cuts_g'] = 3
    assert opt == OPT


@pytest.mark.parametrize('entry, message', [
    ('name', "--force_yml: 'name' sets no option; give block:option=value"), ('=3', 'sets no option'),
    ('train::lr=3', 'sets no option'), (':=1', 'sets no option'), ('', 'sets no option'),
    ('na\nme=1', 'sets no option'),
    ('train:cuts_g:a=1', '--force_yml train:cuts_g:a: cuts_g is 3, not a block of options'),
    ('name:a=1', "name is 'x', not a block"), ('name=[1', '--force_yml name: line 1:'),
    ('name=!!python/object/apply:os.getcwd []', 'the tag'), ('name={a: 1, a: 2}', 'twice'),
    ('name=None', '--force_yml name: line 1: None is a string in YAML; write ~ for null')])
def test_an_entry_that_is_none_is_one_line(entry, message):
    assert message in refusal(override, deepcopy(OPT), [entry], kind=UserError)


def test_names_are_no_code(tmp_path):
    mark = tmp_path / 'mark'
    override(deepcopy(OPT), [f'name"]=open("{mark}", "w");opt["name=[open("{mark}", "w")]'])
    assert not mark.exists()


@pytest.mark.parametrize('entry, message', [
    ('train:ema_dcay=0.9', "train.ema_dcay: nothing reads this option (did you mean 'ema_decay'?)"),
    ('train:ema_decay=1.5', 'train.ema_decay: 1.5 is not a number of at least 0 and below 1'),
    ('trian:ema_decay=0.9', "trian: nothing reads this option (did you mean 'train'?)"),
    ('scale=~', 'scale: None is not an integer')])
def test_what_it_sets_is_checked_as_if_it_stood_in_the_file(tmp_path, monkeypatch, entry, message):
    file = str(runs.option_file(tmp_path, runs.options(tmp_path)))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', file, '--force_yml', entry])
    assert refusal(parse_options, str(tmp_path), kind=UserError).startswith(message)


def test_the_command_that_lists_all_mistakes_changes_the_same_options(tmp_path, monkeypatch):
    file = str(runs.option_file(tmp_path, runs.options(tmp_path)))
    entries = ['train:ema_decay=2', 'train:cuts_g=[a, 5.5]', 'logger:keep_states=0']
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', file, '--force_yml', *entries])
    line = refusal(parse_options, str(tmp_path), kind=UserError)
    assert shlex.split(line.partition(' more; ')[2].removesuffix(' lists all)')) == [
        'mipkd', 'check', file, '--force_yml', *entries]


def test_an_option_that_the_file_leaves_out_can_be_set(tmp_path, monkeypatch):
    opt = runs.options(tmp_path)
    assert 'grad_clip' not in opt['train']
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(runs.option_file(tmp_path, opt)), '--force_yml',
                                      'train:grad_clip=5e-1', 'logger:keep_states=7'])
    parsed, _ = parse_options(str(tmp_path))
    assert (parsed['train']['grad_clip'], parsed['logger']['keep_states']) == (0.5, 7)
