"""Random choices of one training step, as a function of (seed, iteration).

Nothing is carried over from step to step, so a resumed run draws what an uninterrupted one would have drawn. Each
purpose has a stream of its own, so that a loss that is added or taken away changes nothing for the others.
"""
import hashlib
import random
from functools import cached_property

import torch


def seed_of(*parts):
    """63-bit seed from the parts; hashing keeps neighbouring iterations unrelated."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], 'little') >> 1


class StepRandom:
    """Choices of one pass through the networks.

    A step's batch may be shared by several processes, and passed in several parts. Routes are the same for all of it,
    and a sample has the mask, and the numbers, that it would have if all of it were passed at once.

    Args:
        seed (int): the run's ``manual_seed``.
        iteration (int): the training iteration.
        device (torch.device): where masks are drawn.
        share (tuple[int, int]): which of how many equal shares of the step's samples this pass has.
    """

    def __init__(self, seed, iteration, device, share=(0, 1)):
        self._key, self._share, self._device = (seed, iteration), share, device

    @cached_property
    def _generator(self):
        return torch.Generator(self._device).manual_seed(seed_of('masks', *self._key))

    def uniform(self, shape):
        """Random numbers in [0, 1), float32, of shape (N, ...) for the N samples of this pass."""
        index, count = self._share
        numbers = torch.rand(count * shape[0], *shape[1:], generator=self._generator, device=self._device)
        return numbers[index * shape[0]:(index + 1) * shape[0]]

    def route(self, length, student_prob, student, teacher):
        """Draw ``length`` roles, each the student's with probability ``student_prob``; the same ones each time."""
        stream = random.Random(seed_of('routes', *self._key))
        return [student if stream.random() < student_prob else teacher for _ in range(length)]

    def numbers(self, purpose):
        """A ``random.Random`` of the step for a purpose named by a string; it starts alike each time.

        All passes of the step have the same one; what is drawn for a sample comes from ``numbers_of_samples``.
        """
        return random.Random(seed_of(purpose, *self._key))

    def numbers_of_samples(self, purpose, count):
        """As ``numbers``, one for each of the ``count`` samples of this pass, by its place in the step's batch."""
        first = self._share[0] * count
        return [random.Random(seed_of(purpose, *self._key, place)) for place in range(first, first + count)]
