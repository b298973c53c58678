"""Random choices as a function of (seed, iteration), so that a resumed run draws what an uninterrupted one draws.

Each purpose has a stream of its own, so a loss that is added or removed changes nothing for the others.
"""
from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

Role = TypeVar('Role')


def seed_of(*parts: object) -> int:
    """63-bit seed from the parts; hashing keeps neighboring iterations unrelated."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], 'little') >> 1


def seed_generators(*parts: object) -> None:
    """Seed the global generators of torch, NumPy and Python, which networks, losses and datasets of others use.

    Done before each step and each sample, what they draw is a function of the parts: no generator has to be saved for
    a run to be resumed, and what is drawn in between, as by a validation, changes nothing.
    """
    seed = seed_of(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class StepRandom:
    """Random choices of one forward and backward pass, of a run's ``manual_seed`` and the training iteration.

    Where a step's batch is split over processes and into parts, routes are the same for all of it, and a sample has the
    mask, and the numbers, that it would have in one pass of the whole batch.

    Args:
        device: where masks are drawn.
        share: (i, n) where this pass has the i-th of n equal shares of the step's samples.
    """

    def __init__(self, seed: int, iteration: int, device: torch.device, share: tuple[int, int] = (0, 1)) -> None:
        self._key = seed, iteration
        self._device, self._share = device, share

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(seed_of('masks', *self._key))

    def uniform(self, shape: Sequence[int]) -> torch.Tensor:
        """Random numbers in [0, 1), float32, of shape (N, ...) for the N samples of this pass."""
        index, count = self._share
        numbers = torch.rand(count * shape[0], *shape[1:], generator=self._generator, device=self._device)
        return numbers[index * shape[0]:(index + 1) * shape[0]]

    def route(self, length: int, student_prob: float, student: Role, teacher: Role) -> list[Role]:
        """Draw ``length`` roles, each the student's with probability ``student_prob``; the same ones each time."""
        stream = random.Random(seed_of('routes', *self._key))
        return [student if stream.random() < student_prob else teacher for _ in range(length)]

    def numbers(self, purpose: str) -> random.Random:
        """The generator of a purpose, the same at each call and in all passes of the step."""
        return random.Random(seed_of(purpose, *self._key))

    def numbers_of_samples(self, purpose: str, count: int) -> list[random.Random]:
        """As ``numbers``, one for each of the ``count`` samples of this pass, by its place in the step's batch."""
        first = self._share[0] * count
        return [random.Random(seed_of(purpose, *self._key, place)) for place in range(first, first + count)]
