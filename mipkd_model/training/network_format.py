"""How each network computes in a step, its memory format and number format, by time where the options leave it open."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import wraps
from itertools import product
from typing import Any

import torch
from torch import nn

from mipkd_arch.size_probe import trial_images
from mipkd_arch.staged_views import StagedView

from basicsr.utils import get_root_logger

from ..distributed.process_group import all_gather_object
from ..schema.training import TrainOptions
from .precision import has_fast_bf16, uses_bf16

ROUNDS = 3


@dataclass(frozen=True)
class NetworkFormat:
    """How a network computes."""
    channels_last: bool
    """Memory format: channels-last, or PyTorch's own."""
    bf16: bool
    """Number format of convolutions and matrix products: bfloat16, or float32."""

    @property
    def memory_format(self) -> torch.memory_format:
        """PyTorch's name of the memory format."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __str__(self) -> str:
        return f'{"bf16" if self.bf16 else "fp32"}{", channels_last" if self.channels_last else ""}'


def choose_formats(opt: dict[str, Any], networks: Mapping[str, nn.Module], options: TrainOptions,
                   device: torch.device) -> dict[str, NetworkFormat]:
    """The format of each network, by its label ('g' or 't').

    With ``timed`` in ``train.channels_last`` or ``train.precision`` each network is timed in all formats that are open,
    on images of the size of a training batch, the student with its backward pass. The choice is kept in
    ``opt['formats']`` for training states, since the formats round differently: a resumed run has that of its state.

    Args:
        networks: on the device; the teacher frozen.
    """
    layouts = (True, False) if options.channels_last == 'timed' else (options.channels_last, )
    timed = options.precision == 'timed' and has_fast_bf16(device)
    candidates = [NetworkFormat(*pair) for pair in product(
        layouts, (True, False) if timed else (uses_bf16(options.precision, device), ))]
    if len(candidates) == 1:
        return dict.fromkeys(networks, candidates[0])
    kept = opt.get('formats')
    if kept is not None and kept.keys() == networks.keys():
        return {label: NetworkFormat(**kept[label]) for label in networks}
    side = opt['datasets']['train']['gt_size'] // opt['scale']
    lq = trial_images(opt['datasets']['train']['batch_size_per_gpu'], side, side).to(device)
    chosen = {}
    for label, network in networks.items():
        seconds = _times(network, lq, candidates, device)
        chosen[label] = min(seconds, key=lambda found: seconds[found])
        texts = [f'{found} {best * 1e3:.1f} ms' for found, best in seconds.items()]
        get_root_logger().info(f'network_{label} runs in {chosen[label]}, the fastest of: {"; ".join(texts)}.')
    if opt.get('dist'):
        chosen = all_gather_object(chosen)[0]  # all ranks round in the same way
    opt['formats'] = {label: asdict(found) for label, found in chosen.items()}
    return chosen


def _times(network: nn.Module, lq: torch.Tensor, candidates: list[NetworkFormat], device: torch.device
           ) -> dict[NetworkFormat, float]:
    """Least seconds of a pass in each format, in turn."""
    trains, seconds = any(p.requires_grad for p in network.parameters()), dict.fromkeys(candidates, float('inf'))
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}  # batch norms count their passes
    with torch.random.fork_rng(devices=[device] if device.type == 'cuda' else []):
        for index in range(ROUNDS + 1):
            for found in candidates:
                network.to(memory_format=found.memory_format)
                images = lq.contiguous(memory_format=found.memory_format)
                start = _now(device)
                with torch.set_grad_enabled(trains), torch.autocast(device.type, torch.bfloat16, enabled=found.bf16):
                    output = network(images)
                if trains:
                    output.float().mean().backward()
                if index:  # the first round sets kernels up
                    seconds[found] = min(seconds[found], _now(device) - start)
    network.zero_grad()
    for name, buffer in network.named_buffers():
        buffer.copy_(buffers[name])
    return seconds


def _now(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_float32(view: StagedView) -> StagedView:
    """A view whose network runs in float32 under autocast, and gives float32 features and images."""
    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function, updated=())  # the signature of a tail says what it takes; a module's attributes stay there
        def run(*features: torch.Tensor, **more: Any) -> Any:
            with torch.autocast(features[0].device.type, enabled=False):
                return function(*(feature.float() for feature in features), **more)
        return run

    blocks = {name: plain(block) for name, block in view.blocks.items()}
    return replace(view, head=plain(view.head), blocks=blocks, tail=plain(view.tail))
