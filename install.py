"""Installs mipkd, BasicSR and torch into the environment of the Python that runs this file, by its pip.

A torch that is there already, of whatever build, stays. BasicSR 1.4.2 asks for torch in order to be built, and cannot
be built on Python 3.13 and later by itself: its setup.py reads back a variable that ``exec`` wrote into the local
variables of a function, which PEP 667 ended. For that one build ``exec`` writes there once more; what is installed is
the same as on older Pythons.

examples:
  python install.py                                       # into the environment that is active
  python install.py --editable --extra spandrel           # changes in this folder count at once
"""
import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BASICSR = 'basicsr==1.4.2'
OLDEST, NEWEST = (3, 10), (3, 14)
EXTRAS = ('demo', 'deploy', 'omdb', 'spandrel', 'test')

WRITING_EXEC = '''
import builtins
import inspect
import sys

plain_exec = builtins.exec


def exec(code, globals=None, locals=None, /, **closure):
    if globals is not None or locals is not None:
        return plain_exec(code, globals, locals, **closure)
    frame = sys._getframe(1)
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a module's or a class's: its variables are a dictionary
        return plain_exec(code, frame.f_globals, frame.f_locals, **closure)
    variables = dict(frame.f_locals)
    plain_exec(code, frame.f_globals, variables, **closure)
    frame.f_locals.update(variables)


builtins.exec = exec
'''
"""A ``sitecustomize`` module: a bare ``exec`` in a function changes what ``locals()`` of the function gives."""


def check_python() -> None:
    """Refuse a Python that mipkd does not run on, and an environment without pip."""
    version = '.'.join(map(str, sys.version_info[:2]))
    if sys.version_info[:2] < OLDEST:
        sys.exit(f'error: this is Python {version}; mipkd needs {".".join(map(str, OLDEST))} or later')
    if sys.version_info[:2] > NEWEST:
        print(f'Python {version} has not been tried; {".".join(map(str, NEWEST))} is the newest that has.')
    if importlib.util.find_spec('pip') is None:
        sys.exit(f'error: {sys.executable} has no pip; install it there first: python -m ensurepip')


def pip_install(what: list[str], environment: dict[str, str] | None = None) -> None:
    """Run ``pip install``; ends this program where it fails, after what pip said."""
    command = [sys.executable, '-m', 'pip', 'install', '--disable-pip-version-check', *what]
    if subprocess.run(command, env={**os.environ, **(environment or {})}, cwd=ROOT).returncode:
        sys.exit(f'error: pip could not install {what[-1]}; its output is above')


def install_basicsr(options: list[str]) -> None:
    """Install BasicSR; its build sees the torch that is installed, which it asks for."""
    with tempfile.TemporaryDirectory() as folder:
        environment: dict[str, str] = {}
        if sys.version_info >= (3, 13):
            Path(folder, 'sitecustomize.py').write_text(WRITING_EXEC)
            environment['PYTHONPATH'] = os.pathsep.join(filter(None, (folder, os.environ.get('PYTHONPATH'))))
        pip_install([*options, '--no-build-isolation', BASICSR], environment)


def install_opencv(options: list[str]) -> None:
    """Install the build of OpenCV that needs no libraries of a desktop, where the usual one cannot be imported.

    Servers and containers have no libGL or libxcb. The usual build stays installed below it, for BasicSR asks for that.
    """
    if subprocess.run([sys.executable, '-c', 'import cv2'], cwd=ROOT, capture_output=True).returncode:
        print('OpenCV lacks libraries of a desktop here; installing its build for servers.', flush=True)
        pip_install([*options, 'opencv-python-headless'])


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--editable', action='store_true', help='use the code in this folder instead of a copy of it')
    parser.add_argument('--extra', action='append', choices=EXTRAS, default=[],
                        help='more packages: for the demo, for exports to ONNX and ncnn, for networks that the '
                             'spandrel library opens, or for the tests; can be given several times')
    parser.add_argument('--quiet', action='store_true', help='print warnings and errors of pip only')
    args = parser.parse_args(argv)
    check_python()
    options = ['--quiet'] if args.quiet else []
    pip_install([*options, 'torch>=2.6', 'torchvision', 'setuptools', 'wheel'])
    install_basicsr(options)
    extras = f'[{",".join(sorted(set(args.extra)))}]' if args.extra else ''
    pip_install([*options, '--no-build-isolation', *(['--editable'] if args.editable else []), f'.{extras}'])
    install_opencv(options)


if __name__ == '__main__':
    main()
