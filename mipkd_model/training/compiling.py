"""torch.compile for the blocks of a network, in place."""
import os
import shutil
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch._dynamo

from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_views import StagedView

COMPILERS = (os.environ['CXX'], ) if 'CXX' in os.environ else ('g++', 'clang++', 'c++', 'cl')


def check_compiler(device: torch.device) -> None:
    """Raise a ``UserError`` where ``train.compile`` is for the CPU and there is no compiler of C++."""
    if device.type == 'cpu' and not any(map(shutil.which, COMPILERS)):
        raise UserError(f'train.compile: needs a C++ compiler, found none of {", ".join(COMPILERS)}; install one, or '
                        'set compile: false')


def compile_blocks(view: StagedView, **arguments: Any) -> None:
    """Compile every block of a view on its own, by ``torch.compile`` with these arguments.

    Names in modules and state dicts stay, and blocks of one class share what was compiled.
    """
    # Blocks that differ in a constant, as SwinIR's in their drop path, are compiled apart, with and without a backward
    # pass; PyTorch's limit is 8, by a name that changed in 2.7.
    config = torch._dynamo.config
    limit = 'recompile_limit' if hasattr(config, 'recompile_limit') else 'cache_size_limit'
    setattr(config, limit, max(getattr(config, limit), 4 * len(view.blocks)))
    for name in view.blocks:
        try:
            block = view.network.get_submodule(name)
        except AttributeError:
            raise UserError(f'train.compile: {type(view.network).__name__} has no module {name!r}, as its staged view '
                            'calls a block; set compile: false, or name blocks as in named_modules()') from None
        block.compile(dynamic=False, **arguments)


def eagerly() -> AbstractContextManager[Any]:
    """Context in which compiled blocks run uncompiled: for images of ever other sizes."""
    return torch.compiler.set_stance('force_eager')
