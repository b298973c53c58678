"""Every architecture at hand, and what it can be: a student, a teacher by its images, a teacher by its features."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mipkd_arch import spandrel_students_arch
from mipkd_arch.staged_views import viewed_classes

from basicsr.utils.registry import ARCH_REGISTRY

BASICSR, SPANDREL = 'BasicSR', 'spandrel'
STUDENTS_OF_BASICSR = {'EDSR': 'EDSRStudent', 'RCAN': 'RCANStudent', 'SwinIR': 'SwinIRStudent', 'RRDBNet': 'RRDBNet',
                       'SRVGGNetCompact': 'CompactStudent', 'MSRResNet': 'MSRResNet', 'ECBSR': 'ECBSR'}
"""BasicSR's networks for single images, and the type that an option file names as a student."""
LICENSES = {
    'ATD': 'Apache-2.0', 'CRAFT': 'Apache-2.0', 'Compact': 'BSD-3-Clause', 'DAT': 'Apache-2.0', 'DCTLSA': 'Apache-2.0',
    'DITN': 'Apache-2.0', 'DRCT': 'MIT', 'DRUNet': 'MIT', 'DnCNN': 'MIT', 'ESRGAN': 'Apache-2.0', 'FBCNN': 'Apache-2.0',
    'FDAT': 'MIT', 'FFTformer': 'MIT', 'GRL': 'MIT', 'HAT': 'MIT', 'HVICIDNet': 'MIT', 'IPT': 'Apache-2.0',
    'KBNet': 'MIT', 'MixDehazeNet': 'MIT', 'MoESR': 'MIT', 'MoSR': 'MIT', 'NAFNet': 'MIT', 'OmniSR': 'Apache-2.0',
    'PLKSR': 'MIT', 'RCAN': 'MIT', 'RGT': 'Apache-2.0', 'RealCUGAN': 'MIT', 'RetinexFormer': 'MIT',
    'SAFMN': 'Apache-2.0', 'SAFMNBCIE': 'Apache-2.0', 'SCUNet': 'Apache-2.0', 'SPAN': 'Apache-2.0',
    'SeemoRe': 'Apache-2.0', 'SwiftSRGAN': 'CC0-1.0', 'Swin2SR': 'Apache-2.0', 'SwinIR': 'Apache-2.0', 'Uformer': 'MIT'}
"""Of the code of spandrel's architectures that restore or super-resolve whole RGB images; BasicSR is Apache-2.0.
Weights have licenses of their own."""


class Architecture(NamedTuple):
    """A row of the table."""
    name: str
    library: str
    """The library that has its class."""
    student: str
    """The types that an option file names as ``network_g``; empty for none."""
    by_images: bool
    """Whether it can teach by its images."""
    by_features: bool
    """Whether a staged view is registered, so it can teach by its features, and learn by them."""
    license: str
    """Of the code."""


def architectures() -> Iterator[Architecture]:
    """BasicSR's architectures, then spandrel's in alphabetical order, none where spandrel is not installed."""
    viewed = viewed_classes()
    for name, student in STUDENTS_OF_BASICSR.items():
        yield Architecture(name, BASICSR, student, True, any(
            cls.__name__ == name and cls.__module__.startswith('basicsr.') for cls in viewed), 'Apache-2.0')
    if not spandrel_students_arch.INSTALLED:
        return
    from spandrel import MAIN_REGISTRY  # an optional package
    for name in sorted({entry.architecture.id for entry in MAIN_REGISTRY}, key=str.lower):
        if name in LICENSES:
            package = f'spandrel.architectures.{name}.'
            students = [kind for kind in spandrel_students_arch.NAMES if any(
                base.__module__.startswith(package) for base in ARCH_REGISTRY.get(kind).__mro__)]
            yield Architecture(name, SPANDREL, ', '.join(students), True,
                               any(cls.__module__.startswith(package) for cls in viewed), LICENSES[name])
