"""One command installs mipkd with BasicSR, which is then importable by itself, on every Python from 3.10 to 3.14."""
import importlib.util
import runpy
import shutil
import subprocess
import sys

import pytest
import runs

INSTALL = runpy.run_path(str(runs.ROOT / 'install.py'))
PYTHONS = [f'python3.{minor}' for minor in range(10, 15)]


def installed(monkeypatch, *args, status=0, version=None, opencv=True):
    """The calls of pip that ``install.py`` makes, each as (arguments, what its processes find as sitecustomize)."""
    calls = []

    def run(command, env=None, **options):
        if command[1] == '-c':
            return subprocess.CompletedProcess(command, not opencv)
        folder = env.get('PYTHONPATH', '').split(':')[0]
        site = runs.ROOT.__class__(folder, 'sitecustomize.py')
        calls.append((command[3:], site.read_text() if folder and site.is_file() else None))
        return subprocess.CompletedProcess(command, status)

    monkeypatch.delenv('PYTHONPATH', raising=False)
    monkeypatch.setattr(subprocess, 'run', run)
    if version:
        monkeypatch.setattr(sys, 'version_info', version)
    INSTALL['main'](args)
    return calls


def test_torch_comes_before_basicsr_which_asks_for_it_and_mipkd_comes_last(monkeypatch):
    torch, basicsr, mipkd = installed(monkeypatch, '--editable', '--extra', 'test', '--extra', 'demo')
    assert 'torch>=2.6' in torch[0] and '--upgrade' not in torch[0]  # a torch that is there stays
    assert basicsr[0][-2:] == ['--no-build-isolation', 'basicsr==1.4.2']
    assert mipkd[0][-3:] == ['--no-build-isolation', '--editable', '.[demo,test]']


@pytest.mark.parametrize('version, helped', [((3, 12), False), ((3, 13), True), ((3, 14), True)])
def test_the_build_of_basicsr_alone_is_helped_where_exec_no_longer_writes_into_locals(monkeypatch, version, helped):
    assert [site is not None for _, site in installed(monkeypatch, version=version)] == [False, helped, False]


@pytest.mark.parametrize('python', [sys.executable, *PYTHONS], ids=['this', *PYTHONS])
def test_a_setup_script_that_reads_back_what_exec_wrote_finds_it(tmp_path, python):
    python = shutil.which(python)
    if python is None or subprocess.run([python, '-c', ''], capture_output=True).returncode:
        pytest.skip('there is no such Python here')
    (tmp_path / 'sitecustomize.py').write_text(INSTALL['WRITING_EXEC'])
    (tmp_path / 'setup.py').write_text(
        'def version():\n    exec(compile("__version__ = \'1.4.2\'", "version.py", "exec"))\n'
        '    return locals()["__version__"]\n\n'
        'def explicit(scope):\n    exec("found = 7", scope)\n    return scope["found"]\n\n'
        'exec("at_module_level = version()")\n'
        'class Setup:\n    exec("of_class = 3")\n\n'
        'print(version(), at_module_level, Setup.of_class, explicit({}))\n')
    done = subprocess.run([python, str(tmp_path / 'setup.py')], env={'PYTHONPATH': str(tmp_path)}, capture_output=True,
                          text=True)
    assert (done.stdout, done.stderr) == ('1.4.2 1.4.2 3 7\n', '')


def test_a_python_that_is_too_old_and_one_without_pip_are_refused(monkeypatch):
    with pytest.raises(SystemExit, match=r'error: this is Python 3\.9; mipkd needs 3\.10 or later'):
        installed(monkeypatch, version=(3, 9))
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r'has no pip; install it there first: python -m ensurepip'):
        installed(monkeypatch)


def test_a_machine_without_the_libraries_of_a_desktop_gets_the_opencv_that_needs_none(monkeypatch):
    assert installed(monkeypatch, opencv=False)[-1][0][-1] == 'opencv-python-headless'
    assert 'opencv' not in str(installed(monkeypatch, opencv=True))


def test_a_failure_of_pip_ends_the_installation_with_what_could_not_be_installed(monkeypatch):
    with pytest.raises(SystemExit, match='error: pip could not install wheel'):
        installed(monkeypatch, status=1)


@pytest.mark.parametrize('statement', ['import basicsr', 'import basicsr.train', 'from basicsr.archs.edsr_arch import '
                                       'EDSR'])
def test_basicsr_is_importable_by_itself_where_mipkd_is_installed(tmp_path, statement):
    if importlib.util.find_spec('basicsr_compat') is None:
        pytest.skip('mipkd is not installed in this environment')
    done = subprocess.run([sys.executable, '-c', f'{statement}; import sys; print("mipkd_arch" in sys.modules)'],
                          cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'False\n'), done.stderr
