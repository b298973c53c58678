"""What the benchmarks train: a step of MiPKDModel by the options of a pair and a method, on a batch of noise."""
import argparse
import sys
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import torch
import yaml
from torch import Tensor

from mipkd_arch.base.errors import UserError
from mipkd_model.base.randomness import StepRandom
from mipkd_model.config.checks import check_options
from mipkd_model.config.reader import read_options
from mipkd_model.experiments.methods import blocks_of
from mipkd_model.experiments.option_files import text_of_training
from mipkd_model.experiments.runs import Run, parse_pair
from mipkd_model.networks.build import make_network
from mipkd_model.schema.training import active_losses

from basicsr.models import build_model


class Ours:
    """MiPKDModel on an option file of the matrix."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.model = build_model(deepcopy(opt))
        self.optimizer = self.model.optimizer_g
        self.modules = self.model.distiller, self.model.net_t, self.model.net_g_ema
        self.has_schedules = any('schedule' in loss for loss in active_losses(opt['train']).values())

    def step(self, batch: dict[str, Tensor], iteration: int) -> None:
        self.model.feed_data(batch)
        self.model.optimize_parameters(iteration)


def written(args: argparse.Namespace, method: str) -> dict[str, Any]:
    """The option file of a method: that of the pair, or --opt with the losses of the method."""
    if not args.opt:
        return yaml.safe_load(text_of_training(Run(parse_pair(args.pair), method), Path('options/x.yml')))
    opt = read_options(args.opt)
    train = {name: value for name, value in opt['train'].items() if not name.endswith('_opt')}
    return {**opt, 'train': {**train, **deepcopy(blocks_of(method))}}


def options(method: str, folder: Path, args: argparse.Namespace, device: torch.device,
            changes: str = '{}') -> dict[str, Any]:
    """Options of a run with random teacher's weights in ``folder``, as BasicSR's pipeline gives them to a model."""
    opt = written(args, method)
    file = folder / 'teacher.pth'
    opt['path'] = {'pretrain_network_g': None, 'pretrain_network_t': str(file)}
    if opt.get('network_t', {}).get('type') == 'SpandrelNetwork':
        opt['path']['pretrain_network_t'] = None
        if not args.opt:  # which names a file with the sizes
            opt['network_t']['file'] = str(file)
            if not file.exists():
                torch.save(spandrel_network(parse_pair(args.pair).teacher, opt['scale']).state_dict(), file)
    elif 'network_t' in opt and not file.exists():
        torch.save({'params': make_network({**opt, 'path': {}}, 't')[0].state_dict()}, file)
    opt['datasets']['train']['batch_size_per_gpu'] = args.batch
    for text in (args.train, changes):
        change(opt['train'], parse_changes(text))
    check_options(opt, is_train=True)
    return in_pipeline(opt, device)


def in_pipeline(opt: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Checked options of a training as BasicSR's pipeline gives them to a model, without a check of the teacher."""
    return {**opt, 'num_gpu': int(device.type == 'cuda'), 'is_train': True, 'dist': False, 'rank': 0, 'world_size': 1,
            'val': None}


def noise(batch: int, patch: int, scale: int, device: torch.device) -> dict[str, Tensor]:
    """A batch as the loader gives it: lq (batch, 3, patch, patch) and gt, uint8, in memory that a GPU copies from."""
    images = {key: torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
              for key, side in (('lq', patch), ('gt', patch * scale))}
    return {key: of.pin_memory() for key, of in images.items()} if device.type == 'cuda' else images


def spandrel_network(teacher: str, scale: int) -> torch.nn.Module:
    """A teacher of spandrel's classes in its published size, with random weights; their files alone have the sizes."""
    from spandrel.architectures.ATD import ATD
    from spandrel.architectures.DAT import DAT
    from spandrel.architectures.HAT import HAT
    common = {'upscale': scale, 'upsampler': 'pixelshuffle', 'img_size': 64, 'num_heads': [6] * 6}
    if teacher == 'HAT':
        return HAT(embed_dim=180, depths=[6] * 6, window_size=16, mlp_ratio=2, **common)
    if teacher == 'ATD':
        return ATD(embed_dim=210, depths=[6] * 6, window_size=16, category_size=256, num_tokens=128, reducted_dim=20,
                   convffn_kernel_size=5, mlp_ratio=2, **common)
    if teacher == 'DAT_2':
        return DAT(embed_dim=180, depth=[6] * 6, split_size=[8, 32], expansion_factor=2, **common)
    return DAT(img_size=64, embed_dim=60, depth=[18], num_heads=[6], split_size=[8, 32], expansion_factor=2,
               resi_connection='3conv', upscale=scale, upsampler='pixelshuffledirect')


def parse_changes(text: str) -> dict[str, Any]:
    """Options of a ``train`` block from the command line's YAML."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"--train and --also: {text!r} is not a mapping; give options such as '{{precision: fp32}}'")
    return found


def change(train: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change a ``train`` block; a mapping in it is updated, and only if the method has it."""
    for name, value in changes.items():
        if not isinstance(value, dict):
            train[name] = value
        elif name in train:
            train[name].update(value)


def wait(device: torch.device) -> None:
    """Until the device has done its work."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def iterations_of_all_routes(seed: int, stages: int, start: int = 1) -> list[int]:
    """The first iteration from ``start`` on of each route that the block prior may draw."""
    found: dict[tuple[str, ...], int] = {}
    for iteration in count(start):
        route = tuple(StepRandom(seed, iteration, torch.device('cpu')).route(stages, 0.5, 'student', 'teacher'))
        found.setdefault(route, iteration)
        if len(found) == 2**stages:
            break
    return list(found.values())
