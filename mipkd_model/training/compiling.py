"""torch.compile for the blocks of a network, in place."""
import torch
import torch._dynamo

from mipkd_arch.base.errors import UserError


def compile_blocks(view, **how):
    """Compile every block that a view names, each alone.

    Module and state dict keep their names, blocks of one kind share what was compiled, and a stack that is assembled
    anew in each step needs nothing more.

    Args:
        view (StagedView): of the network; None is left alone.
        how: for ``torch.compile``.

    Raises:
        UserError: a block's name is no module of the network.
    """
    if view is None:
        return
    # Blocks that differ in a constant, as SwinIR's in their drop path, are compiled apart, and each for the teacher's
    # pass and for the way through it; PyTorch's limit is 8.
    name = 'recompile_limit' if hasattr(torch._dynamo.config, 'recompile_limit') else 'cache_size_limit'
    setattr(torch._dynamo.config, name, max(getattr(torch._dynamo.config, name), 4 * len(view.blocks)))
    for name in view.blocks:
        try:
            block = view.network.get_submodule(name)
        except AttributeError:
            raise UserError(f'train.compile: {type(view.network).__name__} has no module {name!r}, as its staged view '
                            'calls a block; set compile: false, or name blocks as in named_modules()') from None
        block.compile(dynamic=False, **how)


def eagerly():
    """Context in which compiled blocks run as they were written: for images of ever other sizes."""
    return torch.compiler.set_stance('force_eager')
