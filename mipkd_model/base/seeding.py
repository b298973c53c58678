"""The generators that networks, losses and data sets of others draw from."""
import random

import numpy as np
import torch

from .randomness import seed_of


def seed_generators(*parts):
    """Seed torch's, NumPy's and Python's own generators from any parts.

    Done before each step and each sample, what they draw is a function of the parts: nothing of the generators has to
    be saved for a run to be resumed, and what is drawn in between, as by a validation, changes nothing.
    """
    seed = seed_of(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
