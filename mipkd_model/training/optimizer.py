"""The optimizer of an option file: any of several of PyTorch's; BasicSR 1.4.2 knows Adam alone."""
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .distiller import Distiller

IMPLEMENTATIONS = ('fused', 'foreach')  # options of how an optimizer goes through the weights


def make_optimizer(block: Mapping[str, Any], groups: list) -> torch.optim.Optimizer:
    """Build an optimizer from its option block for parameters, or groups of them; fused where it can be.

    PyTorch's fused SGD fails where some weights have a momentum and others have had no gradient yet, as those of a
    decoder that no route has reached.
    """
    kind, arguments = getattr(torch.optim, block['type']), {key: block[key] for key in block if key != 'type'}
    if block.keys().isdisjoint(IMPLEMENTATIONS) and 'fused' in inspect.signature(kind).parameters:
        arguments['fused'] = not (block['type'] == 'SGD' and block.get('momentum'))
    return kind(groups, **arguments)


def parameter_groups(student: nn.Module, distiller: Distiller, train: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The student, and a group for each learning rate of what else is trained.

    That is the rate of a loss that has one for its weights, else ``train.mixer_lr``, else the student's.
    """
    weights = list(student.parameters())
    own = {id(weight) for weight in weights}
    rates = {id(weight): loss.lr for loss in distiller.losses.values() if getattr(loss, 'lr', None) is not None
             for weight in loss.parameters()}
    mixer_lr = train.get('mixer_lr')
    default = train['optim_g']['lr'] if mixer_lr is None else mixer_lr
    groups: dict[float, list[nn.Parameter]] = {}
    for weight in distiller.parameters():
        if id(weight) not in own and weight.requires_grad:
            groups.setdefault(rates.get(id(weight), default), []).append(weight)
    return [{'params': weights}, *({'params': others, 'lr': rate} for rate, others in groups.items())]


def adopt_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lay a loaded optimizer state out in memory as its weights are, for fused optimizers read both side by side."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight).copy_(value)


def skips_on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer can skip its next step by a flag on the device.

    Fused ones read it from ``found_inf``, as ``torch.amp.GradScaler`` sets it. SGD's first step with momentum cannot:
    it would leave a momentum that nothing was written to.
    """
    if not all(group.get('fused') for group in optimizer.param_groups):
        return False
    momenta = [weight for group in optimizer.param_groups if group.get('momentum') for weight in group['params']
               if weight.grad is not None] if isinstance(optimizer, torch.optim.SGD) else []
    return all(optimizer.state.get(weight, {}).get('momentum_buffer') is not None for weight in momenta)
