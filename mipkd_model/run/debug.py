"""BasicSR's debug mode: a run of a few iterations that prints, saves and validates often."""
from __future__ import annotations

from typing import Any

FREQ = 8
"""Iterations between checkpoints, and between validations."""


def is_debug(name: str) -> bool:
    """Whether a run of that name is one: ``debug``, or ``debug_...``. For BasicSR, any name that contains it is."""
    return name == 'debug' or name.startswith('debug_')


def set_up_debug(opt: dict[str, Any]) -> None:
    """Change the options of a run in debug mode, and no others."""
    if is_debug(opt['name']):
        opt['logger'].update(print_freq=1, save_checkpoint_freq=FREQ)
        if opt.get('val') is not None:
            opt['val']['val_freq'] = FREQ


def debug_note(name: str) -> str:
    """A line on the debug mode for a run of that name; empty where it is none."""
    return (f'name: {name} runs in debug mode: it prints each iteration, saves and validates every {FREQ}, and writes '
            'nothing for TensorBoard' if is_debug(name) else '')
