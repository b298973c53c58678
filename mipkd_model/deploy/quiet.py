"""Silence for libraries that print what a user cannot act on."""
from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which exporters neither warn nor print, nor the programs that they start."""
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with warnings.catch_warnings(), open(os.devnull, 'w') as nothing:
            warnings.simplefilter('ignore')
            for number in (1, 2):
                os.dup2(nothing.fileno(), number)
            yield
    finally:
        for stream, number, copy in zip(streams, (1, 2), kept, strict=True):
            stream.flush()
            os.dup2(copy, number)
            os.close(copy)
