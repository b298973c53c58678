"""A function of many images in threads, a few at a time; Ctrl-C ends it between two batches."""
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def in_batches(function: Callable, items: list) -> Iterator[Iterator[list[tuple]]]:
    """Context in which a function is called of each item in threads.

    Its value goes through the batches, each a list of pairs of item and result, in order; they are small, for images
    are large. Ctrl-C is held back in the context, and raised as ``KeyboardInterrupt`` behind the batch under way.
    """
    jobs = min(8, os.cpu_count() or 1)

    def batches():
        for first in range(0, len(items), 2 * jobs):
            batch = items[first:first + 2 * jobs]
            yield list(zip(batch, pool.map(function, batch), strict=True))
            check_interrupt()

    with _interrupt_held_back() as check_interrupt, ThreadPoolExecutor(jobs) as pool:
        yield batches()


@contextmanager
def _interrupt_held_back() -> Iterator[Callable[[], None]]:
    """Gives a function that raises ``KeyboardInterrupt`` if it came since.

    Raised wherever it comes, as Python does, it may leave a lock of the thread pool taken, and the end never comes.
    """
    came = []

    def check():
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # Python lets none but the main thread catch signals
        yield check
        return
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
