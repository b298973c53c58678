"""What ``test_distributed_steps.py`` starts in two processes: steps of all kinds, and exchanges; prints findings."""
import json
import os
import sys
from copy import deepcopy
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch
import yaml

import mipkd_model  # noqa: F401  (first: it makes BasicSR importable)
from mipkd_arch.base.errors import UserError
from mipkd_model.base.randomness import StepRandom
from mipkd_model.distributed import process_group as distributed
from mipkd_model.distributed.all_reduce import average, same_everywhere

from basicsr.models import build_model

torch.set_num_threads(1)


def alike(tensors):
    """Whether all processes have the same tensors, to the last bit."""
    flat = torch.cat([x.detach().flatten().double() for x in tensors])[None]
    return bool((distributed.gathered(flat) == flat).all())


def steps(opt, place, changes):
    """Two steps on random batches. Returns what the processes had alike, and the weights without gradients."""
    opt = deepcopy(opt)
    opt['train'].update(changes.pop('train', {}))
    for name, value in changes.items():
        opt[name].update(value)
    torch.manual_seed(place['rank'])  # weights at random differ, and become those of the first
    model = build_model({**opt, **place, 'is_train': True})
    generator, routes = torch.Generator().manual_seed(place['rank']), []
    own = StepRandom.route
    StepRandom.route = lambda *args: routes.append(own(*args)) or routes[-1]
    for iteration in (1, 2):
        model.feed_data({'lq': torch.rand(2, 3, 16, 16, generator=generator),
                         'gt': torch.rand(2, 3, 32, 32, generator=generator)})
        model.optimize_parameters(iteration)
    state = [x for x in model.distiller.state_dict().values() if torch.is_tensor(x)]
    StepRandom.route = own
    return {'weights': alike([*state, *model.net_g_ema.state_dict().values()]),
            'losses': alike(model.loss_dict.values()), 'routes': len({*map(repr, distributed.everyone(routes))}) == 1,
            'drawn': routes, 'finite': all(bool(x.isfinite().all()) for x in state),
            'none': sorted(name for name, p in model.distiller.named_parameters() if p.grad is None)}


def refused(function, *args):
    try:
        function(*args)
    except UserError as error:
        return str(error)
    return None


def left(wrong, rank):
    """How this process leaves what all do together, of which some make a mistake."""
    waits, distributed.LAST_WORDS = distributed.LAST_WORDS, 0
    try:
        with distributed.together():
            if rank in wrong:
                raise UserError(f'mistake of {rank}')
    except (UserError, SystemExit) as error:
        return str(error)
    finally:
        distributed.LAST_WORDS = waits
    return None


def uneven(place):
    """Weights of which a process reaches one, all reach one, and none reaches one; and a batch norm."""
    module = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in ('some', 'all', 'none')})
    module['norm'] = torch.nn.BatchNorm1d(1, affine=False)
    same_everywhere(module)
    rank, x = place['rank'], torch.ones(2, 1)
    module['norm'](x * rank)
    losses = {'l_all': (module['all'](x) * (rank + 1)).mean()}
    (losses['l_all'] + (module['some'](x).mean() * 3 if rank else 0)).backward()
    means = average(module, {'l_rank': torch.tensor(float(rank))})
    gradients = {name: p.grad if p.grad is None else p.grad.item() for name, p in module.named_parameters()}
    return {'gradients': gradients, 'mean': means['l_rank'].item(), 'norm': module['norm'].running_mean.item(),
            'alike': alike(module.parameters())}


def main(file, cases):
    place = {'num_gpu': 0}
    distributed.start(None, place)
    rank, opt = place['rank'], yaml.safe_load(Path(file).read_text())
    found = {'place': place, 'cases': {name: steps(opt, place, changes) for name, changes in json.loads(cases).items()},
             'uneven': uneven(place),
             'agree': [distributed.agree(flag) for flag in (False, rank == 1, True)],
             'everyone': distributed.everyone(f'of {rank}'),
             'gathered': distributed.gathered(torch.full((2, 1), rank).float()).flatten().tolist(),
             'differ': refused(distributed.check_alike, {'same': 1, 'train.lr': rank}),
             'names': refused(average, torch.nn.Linear(1, 1), {f'l_{rank}': torch.zeros(())}),
             'shapes': refused(same_everywhere, torch.nn.Linear(1, rank + 1))}
    found['together'] = [left(wrong, rank) for wrong in ((), (0, ), (1, ), (0, 1))]
    # In one write, for both processes have one stdout.
    os.write(sys.stdout.fileno(), f'found {json.dumps(found)}\n'.encode())
    distributed.everyone(None)
    raise UserError('a mistake of all')


if __name__ == '__main__':
    sys.exit(distributed.exit_status(main, *sys.argv[1:]))
