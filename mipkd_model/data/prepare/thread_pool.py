"""A function of many images in threads."""
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


@contextmanager
def in_batches(function: Callable[[Item], Result],
               items: Sequence[Item]) -> Iterator[Iterator[list[tuple[Item, Result]]]]:
    """Context whose value iterates over batches of (item, function(item)), in order; small ones, for images are large.

    Ctrl-C raises ``KeyboardInterrupt`` after the current batch: anywhere else, it may leave a lock of the pool taken.
    """
    jobs = min(8, os.cpu_count() or 1)
    interrupts: list[int] = []

    def batches() -> Iterator[list[tuple[Item, Result]]]:
        for first in range(0, len(items), 2 * jobs):
            batch = items[first:first + 2 * jobs]
            yield list(zip(batch, pool.map(function, batch), strict=True))
            if interrupts:
                raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()  # no other may handle signals
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number)) if is_main else None
    try:
        with ThreadPoolExecutor(jobs) as pool:
            yield batches()
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
