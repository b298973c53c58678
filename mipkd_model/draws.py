"""Random choices of one training step, as a function of (seed, iteration).

Nothing is carried over from step to step, so a resumed run draws what an uninterrupted one would have drawn, and
every rank of a distributed run takes the same route.
"""
import hashlib
import random

import torch


def seed_of(*parts):
    """63-bit seed from the parts; hashing keeps neighbouring iterations unrelated."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], 'little') >> 1


class Draws:
    """Choices of one step.

    Args:
        seed (int): the run's ``manual_seed``.
        iteration (int): the training iteration.
        rank (int): rank of the process; masks differ between ranks, which hold different samples.
        device (torch.device): where masks are drawn.
    """

    def __init__(self, seed, iteration, rank, device):
        self.masks = torch.Generator(device).manual_seed(seed_of('masks', seed, iteration, rank))
        self._routes = random.Random(seed_of('routes', seed, iteration))

    def route(self, length, student_prob, student, teacher):
        """Draw ``length`` roles, each the student's with probability ``student_prob``."""
        return [student if self._routes.random() < student_prob else teacher for _ in range(length)]
