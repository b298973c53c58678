"""Commands that need no network import neither torch nor BasicSR, and the packages are registered all the same."""
import subprocess
import sys

import pytest
import records
import runs

HEAVY = ('torch', 'basicsr', 'matplotlib', 'cv2')
CALL = f"""
import contextlib, sys
from mipkd_model.cli import main
with contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print([name for name in {HEAVY} if name in sys.modules])
"""
REGISTERED = """
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
assert 'EDSRStudent' in ARCH_REGISTRY and 'DUKDLoss' in LOSS_REGISTRY
assert 'PairedSRDataset' in DATASET_REGISTRY and 'MiPKDModel' in MODEL_REGISTRY
"""


def last_line(code, *arguments):
    done = subprocess.run([sys.executable, '-c', code, *arguments], cwd=runs.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1:]


@pytest.mark.parametrize('command', [
    '--help', '--version', 'train --help', 'check --help', 'data pack --help', 'environment --help',
    'teacher get --help', 'options list', 'table published', 'figure crops --help',
    'profile --help', 'export --help', 'upscale --help', 'card --help'])
def test_a_command_that_needs_no_network_is_light(command):
    assert last_line(CALL, *command.split()) == ['[]']


def test_tables_of_records_are_light(tmp_path):
    assert records.written(tmp_path).exists()
    assert last_line(CALL, 'table', 'pairs', str(tmp_path)) == ['[]']


@pytest.mark.parametrize('first', [
    'import mipkd_model', 'import basicsr, mipkd_model', 'import torch, mipkd_arch, mipkd_model',
    'from mipkd_model import load_network', 'import mipkd_model.cli',
    'import mipkd_arch, basicsr, mipkd_model.losses.base', 'import mipkd_model.training.step',
    'from mipkd_arch.base.weights import load_weights', 'from mipkd_arch.spandrel_arch import SpandrelNetwork; '
    'import mipkd_model'])
def test_importing_the_packages_registers_everything(first):
    last_line(f'{first}\n{REGISTERED}')


def test_importing_the_package_does_not_import_torch():
    assert last_line(f"import sys, mipkd_model; print([name for name in {HEAVY} if name in sys.modules])") == ['[]']


def test_public_names_are_there_without_a_further_import():
    last_line('import mipkd_arch, mipkd_model\n'
              'for package in (mipkd_arch, mipkd_model):\n    [getattr(package, name) for name in package.__all__]')


def test_a_file_that_takes_a_built_in_name_is_blamed_by_a_command_that_starts_light(tmp_path):
    (tmp_path / 'mine_arch.py').write_text('from basicsr.utils.registry import ARCH_REGISTRY\n\n\n'
                                           '@ARCH_REGISTRY.register()\nclass EDSRStudent:\n    pass\n')
    done = subprocess.run([sys.executable, '-m', 'mipkd_model.cli', 'options', 'page', '--plugins', str(tmp_path)],
                          cwd=runs.ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'mine_arch.py' in done.stderr and "'EDSRStudent' was already registered" in done.stderr
