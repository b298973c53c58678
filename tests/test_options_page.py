"""``docs/options.md``, the page of all options."""
import inspect
import re

import runs
import yaml

import mipkd_model.losses as losses
from mipkd_arch.prior_mixer import FeaturePriorMixer
from mipkd_model.cli import main
from mipkd_model.step.options import StepOptions

PAGE = runs.ROOT / 'docs/options.md'


def rows(title):
    """Rows of the table below a heading: cells by the option's name."""
    block = re.search(rf'^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)', PAGE.read_text(), re.M | re.S)[1]
    cells = [[cell.strip() for cell in line.strip('| ').split(' | ')] for line in block.splitlines() if '| `' in line]
    return {name.strip('`'): rest for name, *rest in cells}


def test_the_stored_page_is_what_the_command_writes(capsys):
    assert main(['options', '--page']) == 0
    assert capsys.readouterr().out == PAGE.read_text()


def test_options_of_the_complete_file_are_all_on_the_page():
    opt = yaml.safe_load((runs.ROOT / 'options/train_MiPKD_x4.yml').read_text())
    for path, title in (('train', '`train`'), ('val', '`val`'), ('logger', '`logger`'), ('path', '`path`'),
                        ('dist_params', '`dist_params`'), ('table', '`table`')):
        assert opt[path].keys() <= rows(title).keys(), path
    assert opt.keys() <= rows('The whole file').keys()
    assert opt['datasets']['train'].keys() <= rows('`datasets.train`').keys()
    assert opt['train']['optim_g'].keys() <= rows('`train.optim_g`').keys()


def test_defaults_on_the_page_are_those_of_the_code():
    for name, field in StepOptions.__dataclass_fields__.items():
        assert yaml.safe_load(rows('`train`')[name][1].strip('`')) == field.default, name
    for name, parameter in inspect.signature(FeaturePriorMixer).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert yaml.safe_load(rows('`train.mixer_opt`')[name][1].strip('`')) == parameter.default, name


def test_every_option_has_a_meaning():
    names = [name for name, kind in vars(losses.prior_loss).items() if name.endswith('PriorLoss') and kind]
    for title in ('The whole file', '`train`', '`val`', *(f'`{name}`' for name in (*names, 'DUKDLoss', 'RKDLoss',
                                                                                  'EDSRStudent', 'SwinIRStudent'))):
        assert rows(title) and all(len(cells) == 3 and cells[2] for cells in rows(title).values()), title
