"""What is installed is whole."""
import runpy

import runs
import setuptools


def test_every_package_and_its_data_are_installed(monkeypatch):
    told = {}
    monkeypatch.setattr(setuptools, 'setup', told.update)
    scope = runpy.run_path(str(runs.ROOT / 'setup.py'))
    folders = [file.parent.relative_to(runs.ROOT) for name in ('mipkd_arch', 'mipkd_model')
               for file in runs.ours(name, '**/__init__.py')]
    assert sorted(told['packages']) == sorted('.'.join(folder.parts) for folder in folders)
    beside = {runs.ROOT / file for file in scope['BESIDE_PACKAGES']}
    data = {file for folder in folders for file in runs.ours(folder, '*')
            if file.suffix not in ('.py', '.pyc')} - beside
    assert data == {file for package, patterns in told['package_data'].items() for pattern in patterns
                    for file in runs.ours(package.replace('.', '/'), pattern)}
