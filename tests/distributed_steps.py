"""What ``test_distributed_steps.py`` starts on two ranks: steps of all kinds, and collectives; prints findings."""
import contextlib
import io
import json
import os
import random
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
from mipkd_model.distributed.all_reduce import GradientAllReduce, broadcast_parameters

from basicsr.models import build_model

torch.set_num_threads(1)


def alike(tensors):
    """Whether all ranks have the same tensors, to the last bit."""
    flat = torch.cat([x.detach().flatten().double() for x in tensors])
    return all(torch.equal(other, flat) for other in distributed.all_gather_object(flat))


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
            'losses': alike(model.loss_dict.values()),
            'routes': len({*map(repr, distributed.all_gather_object(routes))}) == 1,
            'drawn': routes, 'finite': all(bool(x.isfinite().all()) for x in state),
            'none': sorted(name for name, p in model.distiller.named_parameters() if p.grad is None)}


def refused(function, *args):
    try:
        function(*args)
    except UserError as error:
        return str(error)
    return None


def left(wrong, rank):
    """How this rank leaves what all do together, where some make a mistake, and what it prints."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            with distributed.collective():
                if rank in wrong:
                    raise UserError(f'mistake of {rank}')
        except SystemExit as error:
            return [error.code, said.getvalue()]
    return [None, said.getvalue()]


def uneven(place):
    """Weights of which a process reaches one, all reach one, and none reaches one; and a batch norm."""
    module = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in ('some', 'all', 'none')})
    module['norm'] = torch.nn.BatchNorm1d(1, affine=False)
    broadcast_parameters(module)
    rank, x = place['rank'], torch.ones(2, 1)
    module['norm'](x * rank)
    losses = {'l_all': (module['all'](x) * (rank + 1)).mean()}
    (losses['l_all'] + (module['some'](x).mean() * 3 if rank else 0)).backward()
    means = GradientAllReduce(module)({'l_rank': torch.tensor(float(rank))})
    gradients = {name: p.grad if p.grad is None else p.grad.item() for name, p in module.named_parameters()}
    return {'gradients': gradients, 'mean': means['l_rank'].item(), 'norm': module['norm'].running_mean.item(),
            'alike': alike(module.parameters())}


def main(file, cases):
    place = {'num_gpu': 0}
    distributed.init(None, {})
    place['manual_seed'] = random.randint(1, 10000)
    distributed.set_up(place)
    rank, opt = place['rank'], yaml.safe_load(Path(file).read_text())
    found = {'place': place, 'cases': {name: steps(opt, place, changes) for name, changes in json.loads(cases).items()},
             'uneven': uneven(place),
             'any_rank': [distributed.any_rank(flag) for flag in (False, rank == 1, True)],
             'gathered': distributed.all_gather_object(f'of {rank}'),
             'differ': refused(distributed.check_same, {'same': 1, 'train.lr': rank}),
             'names': refused(GradientAllReduce(torch.nn.Linear(1, 1)), {f'l_{rank}': torch.zeros(())}),
             'shapes': refused(broadcast_parameters, torch.nn.Linear(1, rank + 1))}
    found['collective'] = [left(wrong, rank) for wrong in ((), (0, ), (1, ), (0, 1))]
    # In one write, for both processes have one stdout.
    os.write(sys.stdout.fileno(), f'found {json.dumps(found)}\n'.encode())
    distributed.all_gather_object(None)
    with distributed.collective():
        raise UserError('a mistake of all')


if __name__ == '__main__':
    sys.exit(distributed.exit_status(main, *sys.argv[1:]))
