"""Weights of a network, saved; ``mipkd_arch.base.weights`` loads them."""
from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from mipkd_arch.base.checkpoint import Weights

from .files import atomic_write


def save_checkpoint(content: Mapping[str, Any], path: str | os.PathLike,
                    footer: Callable[[memoryview], bytes] | None = None) -> None:
    """Write a checkpoint by ``torch.save``; its name is there only when it is complete.

    Args:
        footer: gives what is written behind the content, such as its checksum.

    Raises:
        UserError: it cannot be written; an older file of that name is unchanged.
    """
    buffer = io.BytesIO()  # torch's own writer has no errno for a full disk, only a RuntimeError
    torch.save(content, buffer)
    # The view is released even on an error: CPython 3.12.1 crashes where the garbage collector finds one.
    with atomic_write(path) as temporary, open(temporary, 'wb') as file, buffer.getbuffer() as saved:
        file.write(saved)
        if footer is not None:
            file.write(footer(saved))


def plain_state_dict(network: nn.Module) -> Weights:
    """State dict on the CPU in contiguous memory layout, as a BasicSR checkpoint has it."""
    return {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
