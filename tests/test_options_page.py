"""``docs/options.md``, the page of all options."""
import inspect
import re
import sys
from pathlib import Path

import pytest
import runs
import yaml

from mipkd_arch.prior_mixer import FeaturePriorMixer
from mipkd_model.cli import main
from mipkd_model.schema.training import TrainOptions

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

PAGE = runs.ROOT / 'docs/options.md'


def rows(title):
    """Rows of the table below a heading: cells by the option's name."""
    block = re.search(rf'^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)', PAGE.read_text(), re.M | re.S)[1]
    cells = [[cell.strip() for cell in line.strip('| ').split(' | ')] for line in block.splitlines() if '| `' in line]
    return {name.strip('`'): rest for name, *rest in cells}


def test_the_stored_page_is_what_the_command_writes(capsys, monkeypatch):
    own = [file for name in ('mipkd_arch', 'mipkd_model') for file in runs.ours(name, '**/*.py')]
    for registry in (ARCH_REGISTRY, LOSS_REGISTRY):  # without what the checkout's user has put beside ours
        known = {name: kind for name, kind in registry if kind.__module__.startswith('basicsr.')
                 or Path(sys.modules[kind.__module__].__file__) in own}
        monkeypatch.setattr(registry, '_obj_map', known)
    assert main(['options', 'page']) == 0
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
    for name, field in TrainOptions.model_fields.items():
        if not field.is_required() and name in rows('`train`') and name != 'mixer_lr':
            assert yaml.safe_load(rows('`train`')[name][1].strip('`')) == field.default, name
    for name, parameter in inspect.signature(FeaturePriorMixer).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert yaml.safe_load(rows('`train.mixer_opt`')[name][1].strip('`')) == parameter.default, name


def test_every_option_has_a_meaning():
    names = 'FeaturePriorLoss', 'BlockPriorLoss', 'DUKDLoss', 'RKDLoss', 'EDSRStudent', 'SwinIRStudent'
    for title in ('The whole file', '`train`', '`val`', *(f'`{name}`' for name in names)):
        assert rows(title) and all(len(cells) == 3 and cells[2] for cells in rows(title).values()), title


OWN = {
    'without a docstring': ('class Own:\n    def __init__(self, width=8):\n        pass', ['`8`', '']),
    'with type hints': ('class Own:\n    def __init__(self, width: int | None = None):\n        pass',
                        ['an integer or null', '`~`', '']),
    'with any arguments': ('class Own:\n    def __init__(self, width, *args, **kwargs):\n        pass', ['required']),
    'with an odd default': ('class Own:\n    def __init__(self, width=object(), act=len):\n        pass',
                            ['a value of class object', '`len`']),
    'with a default of several lines': ('class Own:\n    def __init__(self, width="a|b\\n- c"):\n        pass',
                                        ['a\\|b - c']),
    'written in C': ('import builtins\nOwn = type("Own", (int, ), {})', []),
    'a function': ('def Own(width=2.5):\n    """Makes it."""', ['Makes it.', '`2.5`']),
    'with Markdown in its docstring': (
        'from typing import Annotated\nfrom pydantic import Field\nclass Own:\n    r"""# {x} | <b>: *odd*"""\n'
        '    def __init__(self, width: Annotated[int, Field(description="a | b {y} <i>\\n and more.")] = 1):\n'
        '        pass',
        ['\\# {x} | &lt;b>: *odd*', 'a \\| b {y} &lt;i> and more.']),
    'without a text as docstring': ('class Own:\n    __doc__ = 3', []),
}


@pytest.mark.parametrize('source, parts', OWN.values(), ids=OWN)
def test_a_network_and_a_loss_of_ones_own_are_on_the_page_as_they_are(tmp_path, capsys, source, parts):
    for ending, registry in (('arch', 'ARCH'), ('loss', 'LOSS')):
        (tmp_path / f'own_{ending}.py').write_text(
            f'from basicsr.utils.registry import {registry}_REGISTRY\n{source.replace("Own", f"Own{ending}")}\n'
            f'{registry}_REGISTRY.register(Own{ending})\n')
    assert main(['options', 'page', '--plugins', str(tmp_path)]) == 0
    page = capsys.readouterr().out
    for ending in ('arch', 'loss'):
        section = re.search(rf'^### `Own{ending}`\n(.*?)(?=^#|\Z)', page, re.M | re.S)[1]
        assert all(part.replace('Own', f'Own{ending}') in section for part in parts), section
        table = [line for line in section.splitlines() if line.startswith('|')]
        assert all(len(re.findall(r'(?<!\\)\|', line)) == 5 for line in table), section
