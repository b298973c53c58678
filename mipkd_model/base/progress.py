"""The progress bar of a training, which is there on a terminal alone."""
from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

from tqdm import tqdm

_shown = SimpleNamespace(bar=None, parts={})


def start_bar(total: int, done: int) -> bool:
    """Show a bar of a training of ``total`` iterations. Returns whether there is one: standard error is a terminal."""
    _shown.parts = {}
    if sys.stderr is not None and sys.stderr.isatty():
        _shown.bar = tqdm(total=total, initial=done, desc='training', dynamic_ncols=True)
    return _shown.bar is not None


def counted(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches of a training; the bar, if there is one, goes on when the next one is asked for."""
    return batches if _shown.bar is None else _count(batches)


def _count(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        yield batch
        if _shown.bar is not None:
            _shown.bar.update()


def note_score(dataset: str, scores: Mapping[str, float]) -> None:
    """Name the first of these scores of a dataset on the bar."""
    for metric, value in list(scores.items())[:1]:
        _name(score=f'{dataset} {metric} {value:.2f}')


def note_losses(log: Mapping[str, Any]) -> None:
    """Name the sum of a log's losses, which begin with ``l_``, on the bar."""
    _name(loss=f'loss {sum(value for name, value in log.items() if name.startswith("l_")):.3g}')


def _name(**parts: str) -> None:
    if _shown.bar is not None:
        _shown.parts.update(parts)
        _shown.bar.set_postfix_str(', '.join(_shown.parts.values()), refresh=False)


def beside_bar() -> AbstractContextManager:
    """Context of what else is written to the screen: the bar is below it."""
    return nullcontext() if _shown.bar is None else tqdm.external_write_mode(file=sys.stderr)


@contextmanager
def closing_bar() -> Iterator[None]:
    """Close the bar at the end of the block; it stays on the screen."""
    try:
        yield
    finally:
        if _shown.bar is not None:
            _shown.bar.close()
            _shown.bar = None
