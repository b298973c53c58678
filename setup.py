"""Packaging of mipkd."""
import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
DEMO, SPANDREL = ['scikit-image'], ['spandrel']
OMDB = ['openmodeldb', *SPANDREL]
DEPLOY = ['onnx', 'onnxruntime', 'onnxscript', 'pnnx', 'ncnn']
BESIDE_PACKAGES = ('mipkd_arch/basicsr_compat.py', 'mipkd_arch/mipkd.pth')


class BuildBesidePackages(build_py):
    """Installs, next to the packages, what lets Python import BasicSR by itself; editable installs need it as well."""

    def run(self) -> None:
        super().run()
        folder = self.get_finalized_command('install').install_lib if self.editable_mode else self.build_lib
        for file in BESIDE_PACKAGES:
            self.copy_file(str(ROOT / file), folder)


# Read, not imported: importing needs torch and BasicSR, which may not be installed yet.
VERSION, = re.findall(r"__version__ = '(.+)'", (ROOT / 'mipkd_model/version.py').read_text(encoding='utf-8'))

setup(
    name='mipkd',
    version=VERSION,
    description='Distil image super-resolution networks in BasicSR, by mixtures of priors (MiPKD)',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    classifiers=[f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 15)],
    python_requires='>=3.10',
    packages=find_packages(include=['mipkd_arch*', 'mipkd_model*']),
    package_data={'mipkd_model.reports.tables': ['*.csv'], 'mipkd_model.reports.figures': ['*.html']},
    cmdclass={'build_py': BuildBesidePackages},
    install_requires=['basicsr==1.4.2', 'torch>=2.6', 'torchvision', 'opencv-python', 'lmdb', 'pyyaml', 'numpy',
                      'matplotlib>=3.6', 'pillow', 'pydantic>=2.5', 'safetensors', 'setuptools', 'tabulate>=0.9',
                      'tqdm'],
    entry_points={'console_scripts': ['mipkd = mipkd_model.cli:main']},
    extras_require={'demo': DEMO, 'deploy': DEPLOY, 'spandrel': SPANDREL, 'omdb': OMDB,
                    'test': [*DEMO, *DEPLOY, *OMDB, 'hypothesis', 'import-linter', 'mypy', 'openvino', 'pytest',
                             'pytest-xdist', 'PyWavelets', 'ruff', 'types-PyYAML']},
)
