"""Supplies the module that BasicSR 1.4.2 imports and torchvision 0.17 and later no longer have.

It is copied next to the installed packages, where ``mipkd.pth`` imports it whenever Python starts, so that BasicSR can
be imported by itself. So it must cost next to nothing, and imports nothing before the module is asked for.
"""
import sys

NAME = 'torchvision.transforms.functional_tensor'


class FunctionalTensorFinder:
    """The last of ``sys.meta_path``: what a torchvision still has, or another package supplies, comes first."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> object:
        if name != NAME:
            return None
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, cls)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: object) -> None:
        return None  # Python's own way of making one

    @staticmethod
    def exec_module(module: object) -> None:
        from torchvision.transforms.functional import rgb_to_grayscale
        vars(module)['rgb_to_grayscale'] = rgb_to_grayscale  # the only name that BasicSR uses of it


sys.meta_path.append(FunctionalTensorFinder)  # type: ignore[arg-type]
