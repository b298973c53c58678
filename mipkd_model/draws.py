"""Random choices of one training step, as a function of (seed, iteration).

Nothing is carried over from step to step, so a resumed run draws what an uninterrupted one would have drawn, and
every rank of a distributed run takes the same route. Each purpose has a stream of its own, so that a loss that is
added or taken away changes nothing for the others.
"""
import hashlib
import random
from functools import cached_property

import torch


def seed_of(*parts):
    """63-bit seed from the parts; hashing keeps neighbouring iterations unrelated."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], 'little') >> 1


class Draws:
    """Choices of one step.

    Args:
        seed (int): the run's ``manual_seed``.
        iteration (int): the training iteration.
        rank (int): rank of the process; masks and ``numbers`` differ between ranks, which hold different samples.
        device (torch.device): where masks are drawn.
    """

    def __init__(self, seed, iteration, rank, device):
        self._key, self._rank, self._device = (seed, iteration), rank, device
        self._routes = random.Random(seed_of('routes', *self._key))

    @cached_property
    def masks(self):
        """The generator, on the device, that masks are drawn from."""
        return torch.Generator(self._device).manual_seed(seed_of('masks', *self._key, self._rank))

    def route(self, length, student_prob, student, teacher):
        """Draw ``length`` roles, each the student's with probability ``student_prob``."""
        return [student if self._routes.random() < student_prob else teacher for _ in range(length)]

    def numbers(self, purpose):
        """A ``random.Random`` for a purpose named by a string; it starts alike each time it is asked for."""
        return random.Random(seed_of(purpose, *self._key, self._rank))
