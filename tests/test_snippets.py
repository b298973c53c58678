"""What README and docs print can be pasted: code runs in a process and a folder of its own, commands are understood."""
import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys

import pytest
import runs
import torch

from mipkd_arch.base.network_record import network_record
from mipkd_model.cli import build_parser
from mipkd_model.config.command_line import add_arguments

from basicsr.archs import build_network

PAGES = [runs.ROOT / 'README.md', *sorted((runs.ROOT / 'docs').glob('*.md'))]
CODE = {page: re.findall(r'(?:here\s+`([\w/]+\.py)`[.:]\s+)?```python\n(.*?)```', page.read_text(encoding='utf-8'),
                         re.S) for page in PAGES}
"""What a page has of Python: the file that a block is to be saved as, or an empty string, and the block."""
USE = "from mipkd_model import plugins\nplugins.use(['my_parts'])\n"
BLOCKS = re.compile(r'```(?:bash|sh)?\n(.*?)```', re.S)
MODULES = ('mipkd', 'mipkd_model.cli', 'pytest')
SCRIPTS = {'datasets/prepare.py': ('data', ), 'datasets/verify.py': ('data', 'verify')}


@pytest.mark.parametrize('page', [page for page in PAGES if CODE[page]], ids=lambda page: page.name)
def test_the_code_of_a_page_runs_as_it_is_printed(page, tmp_path):
    for file, block in CODE[page]:
        if file:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(block)
    code = '\n'.join(block for file, block in CODE[page] if not file) or USE
    if importlib.util.find_spec('basicsr_compat') is None and not re.search(r'^(from|import) mipkd', code, re.M):
        pytest.skip('mipkd is not installed in this environment, so BasicSR is not importable by itself')
    for file in re.findall(r"(?:load\w*|open_model)\('([^']+)'", code):  # a student as its option file trains one
        student = {'type': 'EDSRStudent', 'num_feat': 64, 'num_block': 32, 'upscale': 4, 'res_scale': 0.1}
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        torch.save({'params_ema': build_network(dict(student)).state_dict(), **network_record(student, 4)},
                   tmp_path / file)
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, 'PYTHONPATH': str(runs.ROOT)})
    assert done.returncode == 0, done.stderr


def commands(page):
    """The command lines of a page's blocks, as lists of words, without comments."""
    for block in BLOCKS.findall(page.read_text(encoding='utf-8')):
        for line in block.replace('\\\n', ' ').splitlines():
            line = line.removeprefix('$ ')
            if line.startswith(('mipkd ', 'python ', 'torchrun ', 'srun ')):
                yield shlex.split(line, comments=True)


def launcher_parser():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize('page, words', COMMANDS, ids=[f'{page}: {shlex.join(words)}' for page, words in COMMANDS])
def test_a_command_of_a_page_is_understood(page, words):
    program = next(word for word in words if word in MODULES or word.endswith('.py'))  # behind torchrun and the like
    arguments = words[words.index(program) + 1:]
    if program.startswith('mipkd'):
        build_parser().parse_args(arguments)
    elif program in SCRIPTS:
        build_parser().parse_args([*SCRIPTS[program], *arguments])
    elif program.startswith('basicsr/'):
        launcher_parser().parse_args(arguments)
    else:
        assert program == 'pytest' or (runs.ROOT / program).is_file()


def test_there_are_commands_and_code_to_look_at():
    assert len(COMMANDS) > 50 and sum(map(bool, CODE.values())) >= 3
