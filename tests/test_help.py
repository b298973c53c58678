"""Every command explains itself."""
import runpy
import sys

import pytest
import runs

from mipkd_model.cli import main
from mipkd_model.version import __version__

SCRIPTS = {
    'train': ['basicsr/train.py'], 'test': ['basicsr/test.py'],
    'prepare': ['datasets/prepare.py'], 'prepare all': ['datasets/prepare.py', 'all'],
    'prepare div2k': ['datasets/prepare.py', 'div2k'], 'prepare pack': ['datasets/prepare.py', 'pack'],
    'prepare benchmark': ['datasets/prepare.py', 'benchmark'], 'verify': ['datasets/verify.py'],
    'demo': ['demo/run.py'], 'keep teacher': ['demo/keep_teacher.py'],
    'study of losses': ['benchmarks/study.py'], 'loader benchmark': ['benchmarks/loader.py'],
    'bicubic benchmark': ['benchmarks/bicubic.py'],
    'step benchmark': ['benchmarks/step.py'], 'floor': ['benchmarks/floor.py'],
    'start benchmark': ['benchmarks/start.py'],
    'sharing benchmark': ['benchmarks/sharing.py'],
    'validation benchmark': ['benchmarks/validation.py'],
    'deployment benchmark': ['benchmarks/deploy.py'],
}
MIPKD = [[], ['train'], ['test'],
         ['options'], ['options', 'list'], ['options', 'write'], ['options', 'all'], ['options', 'ablation'],
         ['options', 'page'], ['table', 'pairs'], ['table', 'published'], ['table', 'ablation'], ['table', 'cost'],
         ['teacher'], ['teacher', 'get'], ['teacher', 'convert'], ['teacher', 'verify'], ['table'],
         ['figure'], ['figure', 'crops'], ['figure', 'curves'], ['figure', 'maps'], ['profile'], ['check'],
         ['environment'], ['data'], ['data', 'all'], ['data', 'div2k'], ['data', 'benchmark'], ['data', 'pack'],
         ['data', 'verify'], ['export'], ['upscale'], ['card']]


@pytest.mark.parametrize('command', SCRIPTS.values(), ids=SCRIPTS)
def test_help_of_a_script_has_an_example(command, monkeypatch, capsys):
    script = runs.ROOT / command[0]
    monkeypatch.chdir(runs.ROOT)
    monkeypatch.setattr(sys, 'argv', [*command, '--help'])
    monkeypatch.setattr(sys, 'path', [str(script.parent), *sys.path])  # as for a script that is started
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name='__main__')
    assert end.value.code == 0
    assert 'example' in capsys.readouterr().out


@pytest.mark.parametrize('command', MIPKD, ids=' '.join)
def test_help_of_the_mipkd_command_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, '--help'])
    assert end.value.code == 0
    assert 'example' in capsys.readouterr().out


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main(['--version'])
    assert end.value.code == 0 and capsys.readouterr().out == f'mipkd {__version__}\n'
