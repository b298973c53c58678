"""Options of the optimizer."""
import inspect

import torch


def fused_if_possible(block):
    """``train.optim_g`` with ``fused: true``, one pass over all weights, where the optimizer has it.

    ``fused`` or ``foreach`` of the block itself stay as they are. The step is the same but for rounding.

    Args:
        block (dict): ``type`` and arguments.

    Returns:
        dict: a copy.
    """
    optimizer = getattr(torch.optim, str(block.get('type')), None)
    known = inspect.signature(optimizer).parameters if inspect.isclass(optimizer) else ()
    return {**block, 'fused': True} if 'fused' in known and not {'fused', 'foreach'} & block.keys() else dict(block)
