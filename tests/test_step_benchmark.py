"""``benchmarks/step.py``: how long it takes at most; and what all benchmarks import first."""
import ast
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError

sys.path.append(str(runs.ROOT / 'benchmarks'))  # for what it imports from beside it

import step

refused = partial(refusal, kind=UserError)


@pytest.mark.parametrize('of_one, seconds, expected', [(1, 10, 5), (4, 10, 3), (100, 10, 1), (1, 0, 1)])
def test_no_round_begins_after_the_time_is_over_and_the_first_always_does(monkeypatch, of_one, seconds, expected):
    now = [0.]
    monkeypatch.setattr(step, 'time', SimpleNamespace(monotonic=lambda: now[0]))
    made = 0
    for _ in step.rounds_within(5, seconds):
        now[0] += of_one
        made += 1
    assert made == expected


def test_a_time_below_zero_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['step.py', '--seconds', '-1'])
    assert step.main() == 1
    error = capsys.readouterr().err
    assert '--seconds: -1.0 is not a number of at least 0' in error and error.count('\n') == 1


def third_party(file):
    """Names of the packages that a program imports at its top, without those of the standard library, in order."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module]
        else:
            continue
        yield from (name for name in (name.partition('.')[0] for name in found) if name not in sys.stdlib_module_names)


IMPORTED = {file.stem: list(third_party(file)) for folder in ('benchmarks', 'demo')
            for file in sorted((runs.ROOT / folder).glob('*.py')) if '__main__' in file.read_text()}


@pytest.mark.parametrize('program', [name for name, names in IMPORTED.items() if 'torch' in names])
def test_programs_import_this_package_before_torch_which_reads_once_how_its_threads_wait(program):
    assert IMPORTED[program][0] in ('mipkd_arch', 'mipkd_model')
