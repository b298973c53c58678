"""Every command explains itself."""
import subprocess
import sys

import pytest
import runs

COMMANDS = {
    'train': ['basicsr/train.py'], 'test': ['basicsr/test.py'],
    'prepare': ['datasets/prepare.py'], 'prepare all': ['datasets/prepare.py', 'all'],
    'prepare div2k': ['datasets/prepare.py', 'div2k'], 'prepare pack': ['datasets/prepare.py', 'pack'],
    'prepare benchmark': ['datasets/prepare.py', 'benchmark'], 'verify': ['datasets/verify.py'],
    'demo': ['demo/run.py'], 'keep teacher': ['demo/keep_teacher.py'],
    'feature scale': ['benchmarks/feature_scale.py'], 'loader benchmark': ['benchmarks/loader.py'],
    'bicubic benchmark': ['benchmarks/bicubic.py'],
    'methods study': ['benchmarks/methods.py'], 'inference benchmark': ['benchmarks/inference.py'],
    'mipkd': ['-m', 'mipkd_model.cli'], 'mipkd options': ['-m', 'mipkd_model.cli', 'options'],
    'mipkd teacher': ['-m', 'mipkd_model.cli', 'teacher'],
    **{f'mipkd teacher {name}': ['-m', 'mipkd_model.cli', 'teacher', name] for name in ('get', 'convert', 'verify')},
}


@pytest.mark.parametrize('command', COMMANDS.values(), ids=COMMANDS)
def test_help_has_an_example(command):
    done = subprocess.run([sys.executable, *command, '--help'], cwd=runs.ROOT, text=True, capture_output=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert 'example' in done.stdout
