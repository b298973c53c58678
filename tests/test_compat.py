"""What importing the packages makes of BasicSR, and what is said where it cannot be imported."""
import subprocess
import sys
from pathlib import Path

import pytest

from basicsr.utils.registry import ARCH_REGISTRY

ROOT = Path(__file__).resolve().parents[1]


def run_python(code, *path):
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={'PYTHONPATH': ':'.join(map(str, path))})
    return done.returncode, done.stdout, done.stderr


def refusal(code, *path):
    status, _, stderr = run_python(code, *path)
    last = stderr.splitlines()[-1]
    assert status == 1 and 'InstallError: a package that mipkd needs is missing or does not fit' in last
    assert last.endswith(str(ROOT / 'install.py'))
    return last


def test_importing_the_package_makes_basicsr_importable_and_registers_its_parts():
    assert run_python('import mipkd_model\n'
                      'from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY\n'
                      'print("EDSRStudent" in ARCH_REGISTRY, "PairedSRDataset" in DATASET_REGISTRY,'
                      ' "MiPKDModel" in MODEL_REGISTRY)')[:2] == (0, 'True True True\n')


@pytest.mark.parametrize('module', ['torch', 'torchvision', 'cv2', 'lmdb', 'basicsr'])
def test_a_missing_package_is_named_with_its_remedy(module):
    assert module in refusal(f'import sys\nsys.modules[{module!r}] = None\nimport mipkd_model\nmipkd_model.register()')


@pytest.mark.parametrize('module', ['pydantic', 'yaml', 'tqdm', 'torch'])
def test_a_command_says_in_one_line_which_package_is_missing(module):
    status, _, stderr = run_python(f'import sys\nsys.modules[{module!r}] = None\nfrom mipkd_model.cli import main\n'
                                   "sys.exit(main(['check', 'options/train_MiPKD_x4.yml']))")
    assert status == 1 and stderr.count('\n') == 1
    assert stderr.startswith('error: a package that mipkd needs is missing') and module in stderr


@pytest.mark.parametrize('content, reason', [
    ('import a_module_that_nobody_has', 'a_module_that_nobody_has'),
    ('raise RuntimeError("operator torchvision::nms does not exist")', 'operator torchvision::nms does not exist'),
    (None, "No module named 'basicsr.archs'")])
def test_a_library_that_cannot_be_imported_is_told_with_the_reason(tmp_path, content, reason):
    (tmp_path / 'basicsr').mkdir()
    if content is not None:
        (tmp_path / 'basicsr/__init__.py').write_text(content)
    code = f'import sys\nsys.path[:] = [{str(tmp_path)!r}, *sys.path]\nimport mipkd_model\nmipkd_model.register()'
    if content is None:  # a folder without __init__.py is found only where no package is
        code = ('import sys, types\nsys.modules["basicsr"] = package = types.ModuleType("basicsr")\n'
                f'package.__path__ = [{str(tmp_path / "basicsr")!r}]\nimport mipkd_model\nmipkd_model.register()')
    assert reason in refusal(code)


def test_a_name_that_basicsr_has_with_a_suffix_is_found_without_a_line_on_the_screen(capsys):
    assert ARCH_REGISTRY.get('SRVGGNetCompact') is ARCH_REGISTRY.get('SRVGGNetCompact_basicsr')
    assert capsys.readouterr().out == ''
