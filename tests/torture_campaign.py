"""What ``test_torture.py`` starts: campaigns of kills on the smallest training, one after the other; prints findings.

In a process of its own, for children that are forked can compute gradients only if their parent never has.
"""
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / 'benchmarks'))

import torch
from torture_parts import kills, part, world

from mipkd_model.mipkd_model import MiPKDModel

torch.set_num_threads(1)
resume = MiPKDModel.resume_training


def resume_wrongly(self, state):
    """Take up a state, but for a hair's breadth."""
    resume(self, state)
    with torch.no_grad():
        next(iter(self.net_g.parameters())).add_(2**-20)


place = world.World(Path(sys.argv[1], 'world'))
opt = world.training(place, train={'total_iter': 5})
kills.variants = lambda _: {'the only one': opt}
kills.FRESH = 0
# After iteration 4 is saved, and before the run has ended.
kills.plan = lambda rng, seconds, changes, fresh: (None, changes - 6, 0)
kills.prepare(place)
found = []
for taken_up in (resume, resume_wrongly):
    MiPKDModel.resume_training = taken_up
    case = part.run_case(kills, place, 0, 0)
    found.append([case.counts, [trouble.kind for trouble in case.troubles]])
print(json.dumps(found))
