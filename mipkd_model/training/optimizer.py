"""The optimizer of an option file: any of several of PyTorch's; BasicSR 1.4.2 knows Adam alone."""
import inspect

import torch

LOOPS = ('fused', 'foreach')  # how an optimizer goes through the weights


def _kind(name):
    return getattr(torch.optim, name)


def loops(block):
    """How an optimizer goes through the weights: as its block says, else fused, in one pass, where it can be.

    Returns:
        dict: ``fused`` and ``foreach`` where the optimizer has them.
    """
    has = inspect.signature(_kind(block['type'])).parameters
    asked = {name: block.get(name) for name in LOOPS if name in has}
    if 'fused' in asked and block.keys().isdisjoint(LOOPS):
        # PyTorch's fused SGD fails where some weights have a momentum and others have had no gradient yet, as those of
        # a decoder that no route has reached.
        asked['fused'] = not (block['type'] == 'SGD' and block.get('momentum'))
    return asked


def check_entries(optimizer, block):
    """Check that a loaded state has of each weight either nothing or what a step leaves; fused kernels trust it.

    Args:
        optimizer (Optimizer): with its state.
        block (dict): its options.

    Raises:
        ValueError: an entry is missing, unknown or of another shape.
    """
    probe = torch.zeros(2, requires_grad=True)
    probe.grad = torch.ones_like(probe)
    small = make_optimizer(block, [probe])
    small.step()
    expected = {name: getattr(value, 'shape', None) for name, value in small.state[probe].items()}
    for weight, state in optimizer.state.items():
        if state.keys() != expected.keys():
            raise ValueError(f'the optimizer has {", ".join(state) or "nothing"} of a weight, not '
                             f'{", ".join(expected)}')
        for name, value in state.items():
            shape = weight.shape if expected[name] == probe.shape else expected[name]
            if getattr(value, 'shape', None) != shape:
                raise ValueError(f'{name} of the optimizer is not of the shape of its weight, {list(weight.shape)}')


def adopt_layout(optimizer):
    """Lay the state of an optimizer out in memory as its weights are.

    A loaded state keeps the layout it was saved in, and fused optimizers read both number by number.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight).copy_(value)


def make_optimizer(block, groups):
    """Build the optimizer of a block that is as ``OptimizerOptions``.

    Args:
        block (dict): ``type`` and arguments.
        groups (list): parameters, or groups of them.
    """
    return _kind(block['type'])(groups, **{**{name: value for name, value in block.items() if name != 'type'},
                                           **loops(block)})
