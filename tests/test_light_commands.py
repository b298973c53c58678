"""Commands that need no network import neither torch nor matplotlib."""
import subprocess
import sys

import pytest
import runs

# The two packages are there without what they import themselves, which registers networks with torch.
CODE = """
import argparse, importlib, sys, types
for name in ('mipkd_arch', 'mipkd_model'):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [f'{sys.argv[1]}/{name}']
module = importlib.import_module(f'mipkd_model.commands.{sys.argv[2]}')
parser = argparse.ArgumentParser()
module.add(parser.add_subparsers())
if len(sys.argv) > 3:
    args = parser.parse_args(sys.argv[2:])
    args.run(args)
print([name for name in ('torch', 'matplotlib', 'basicsr') if name in sys.modules])
"""


@pytest.mark.parametrize('command', [
    ['options'], ['options', 'list'], ['table'], ['table', 'published'], ['table', 'pairs', 'docs/results'], ['figure'],
    ['profile']], ids=' '.join)
def test_a_command_that_needs_no_network_is_light(command):
    done = subprocess.run([sys.executable, '-c', CODE, str(runs.ROOT), *command], cwd=runs.ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '[]'
