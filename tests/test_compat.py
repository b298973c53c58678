import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import refusals

from mipkd_arch.compat import InstallError, prepare

ROOT = Path(__file__).resolve().parents[1]


def run_python(code):
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=300)


def refusal():
    return refusals.refusal(prepare, kind=InstallError)


def test_importing_the_package_makes_basicsr_importable_and_registers_its_parts():
    done = run_python('import mipkd_model\n'
                      'from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY\n'
                      'print("EDSRStudent" in ARCH_REGISTRY, "PairedSRDataset" in DATASET_REGISTRY,'
                      ' "MiPKDModel" in MODEL_REGISTRY)')
    assert (done.returncode, done.stdout.split()) == (0, ['True'] * 3), done.stderr


def test_importing_the_package_without_basicsr_says_how_to_install_it():
    done = run_python('import sys\nsys.modules["basicsr"] = None\nimport mipkd_model')
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert 'InstallError: mipkd needs basicsr' in last and str(ROOT / 'install.py') in last


@pytest.mark.parametrize('module, remedy', [
    ('torch', 'pip install torch torchvision'), ('torchvision', 'pip install --upgrade torch torchvision'),
    ('cv2', 'pip install opencv-python-headless'), ('lmdb', 'pip install lmdb'), ('basicsr', 'install.py')])
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, module, remedy):
    monkeypatch.setitem(sys.modules, module, None)
    message = refusal()
    assert message.startswith(f'mipkd needs {module}, which is not installed') and remedy in message


def hide_basicsr_behind(monkeypatch, folder):
    """Let ``import basicsr`` find what lies in ``folder``, and nothing else."""
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return PathFinder.find_spec(name, [str(folder)]) if name == 'basicsr' else None

    monkeypatch.delitem(sys.modules, 'basicsr')
    monkeypatch.setattr(sys, 'meta_path', [Finder, *sys.meta_path])


def test_a_folder_that_only_has_the_librarys_name_is_not_taken_for_it(monkeypatch, tmp_path):
    (tmp_path / 'basicsr').mkdir()
    hide_basicsr_behind(monkeypatch, tmp_path)
    message = refusal()
    assert str(tmp_path / 'basicsr') in message and 'install.py' in message


def test_an_installed_library_that_cannot_be_imported_is_told_from_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / 'basicsr').mkdir()
    (tmp_path / 'basicsr/__init__.py').write_text('import a_module_that_nobody_has\n')
    hide_basicsr_behind(monkeypatch, tmp_path)
    message = refusal()
    assert message.startswith('basicsr is installed but cannot be imported') and 'a_module_that_nobody_has' in message


def test_a_package_that_lacks_a_library_of_the_system_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / 'cv2').mkdir()
    (tmp_path / 'cv2/__init__.py').write_text(
        'raise ImportError("libGL.so.1: cannot open shared object file", name="cv2")\n')
    monkeypatch.delitem(sys.modules, 'cv2')
    monkeypatch.syspath_prepend(tmp_path)
    message = refusal()
    assert message.startswith('cv2 is installed but cannot be imported (libGL.so.1') and 'headless' in message


def test_a_torchvision_for_another_torch_is_named(monkeypatch, tmp_path):
    (tmp_path / 'basicsr').mkdir()
    (tmp_path / 'basicsr/__init__.py').write_text(
        'raise RuntimeError("operator torchvision::nms does not exist")\n')
    hide_basicsr_behind(monkeypatch, tmp_path)
    assert 'does not fit the installed torch (operator torchvision::nms does not exist)' in refusal()


def test_preparing_again_gives_the_imported_library():
    assert prepare() is sys.modules['basicsr']
