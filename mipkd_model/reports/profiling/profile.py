"""What networks cost on a device: latency, throughput and peak memory, with parameters and multiply-accumulates."""
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from tqdm import tqdm

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.failures import is_out_of_memory

from ...config import plugins
from ...config.checks import read_options
from ...evaluation.provenance import device_name, versions
from ...experiments.networks import student_block, teacher_block
from ...experiments.runs import parse_pair
from ...training.precision import autocast
from .macs import build, failed, lq_shape, network_cost, whole
from .memory import peak_allocated_bytes

FORMAT = 'mipkd profile 1'
RATIOS = ('parameters', 'macs', 'ms')  # of a teacher to its student


class Timing(NamedTuple):
    """How forward passes are measured."""
    device: torch.device
    size: tuple[int, int]  # LR height and width in pixels; padded to what a network needs
    batch: int = 1  # LR images in a pass
    precision: str = 'fp32'  # 'fp32', without TF32, or 'bf16' for autocast
    rounds: int = 10  # timed passes of each network


class Target(NamedTuple):
    """One network that is meant."""
    name: str  # the pair, the stem of the option file, or 'block'
    role: str  # 'teacher', 'student', or 'network' where it is neither
    block: dict[str, Any]  # its option block: ``type`` and arguments
    where: str  # what errors call it


def profile(targets: Sequence[str], size: tuple[int, int], timing: Timing | None = None) -> dict[str, Any]:
    """Measure networks; equal ones are measured once.

    Args:
        targets: for ``parse_target``.
        size: LR height and width for the multiply-accumulates.
        timing: how passes are measured; None leaves them out.

    Returns:
        Plain data. ``format``; ``lr_size``; ``timing``: None, or ``device``, ``lr_size``, ``batch``, ``precision`` and
        ``rounds``; ``versions`` by package; ``networks``: dicts of ``target``, ``role``, ``network`` (the block),
        ``parameters``, ``macs`` and, if passes were measured, what ``measure_passes`` gives. A student that has a
        teacher has ``teacher_by_student``: the teacher's ``parameters``, ``macs`` and ``ms`` divided by its own.

    Raises:
        UserError: a target means nothing, or its network cannot be built, or fails.
    """
    groups = [parse_target(target) for target in targets]
    distinct = {repr(target.block): target for group in groups for target in group}
    found = {key: network_cost(target.block, size, target.where)._asdict()
             for key, target in tqdm(distinct.items(), 'count', unit='network')}
    if timing:
        for measured, passes in zip(found.values(), measure_passes(list(distinct.values()), timing), strict=True):
            measured.update(passes)
    rows = []
    for group in groups:
        rows += [{'target': target.name, 'role': target.role, 'network': target.block, **found[repr(target.block)]}
                 for target in group]
        if len(group) == 2:
            teacher, student = rows[-2:]
            student['teacher_by_student'] = {name: teacher[name] / student[name] for name in RATIOS
                                             if student.get(name)}
    how = timing and {'device': device_name(timing.device), 'lr_size': list(timing.size), 'batch': timing.batch,
                      'precision': timing.precision, 'rounds': timing.rounds}
    return {'format': FORMAT, 'lr_size': list(size), 'timing': how, 'networks': rows,
            'versions': versions(timing.device if timing else torch.device('cpu'))}


def parse_target(text: str) -> list[Target]:
    """The networks that a text means: one, or a teacher and its student.

    Args:
        text: an option file, whose plugins are then in use; a pair such as ``SwinIR-EDSR_x4``; or a network's block
            in YAML, in braces.

    Raises:
        UserError: it is none of these.
    """
    if text.lstrip().startswith('{'):
        try:
            return [Target('block', 'network', yaml.safe_load(text), 'TARGET')]
        except yaml.YAMLError as error:
            raise UserError(f'TARGET: {reason_of(text)!r}: {getattr(error, "problem", "")}; a block looks like this: '
                            '{type: EDSRStudent, upscale: 4}') from None
    file = Path(text)
    if file.suffix in ('.yml', '.yaml') or file.is_file():
        if not file.is_file():
            raise UserError(f'TARGET: {text}: no such option file')
        opt, name = read_options(file), file.stem
        if opt.get('network_g') is None:
            raise UserError(f'TARGET: {text}: has no network_g; it is no option file of a network')
        plugins.use_more(opt.get('plugins'))
        teacher, student = opt.get('network_t'), opt['network_g']
    else:
        try:
            pair, name = parse_pair(text), text
        except UserError as error:
            raise UserError(f'TARGET: {str(error).removeprefix("PAIR: ")}; or an option file, or a block in '
                            'braces') from None
        teacher, student = teacher_block(pair.teacher, pair.scale)[0], student_block(pair.student, pair.scale)
    targets = [Target(name, 'student', student, f'{text}: network_g')]
    return targets if teacher is None else [Target(name, 'teacher', teacher, f'{text}: network_t'), *targets]


def measure_passes(targets: Sequence[Target], timing: Timing) -> list[dict[str, Any]]:
    """Measure forward passes of networks, in turn, so that all of them meet the same load of the machine.

    Returns:
        For each ``ms`` (median of a pass), ``ms_rounds``, ``images_per_second`` (by the median) and ``peak_bytes``.
    """
    passes, peaks = [], []
    for target in tqdm(targets, 'warm up', unit='network'):
        passes.append(_Pass(target, timing))
        passes[-1].run()  # kernels are loaded and chosen now, not in what is measured
        peaks.append(passes[-1].peak_bytes())
    times: list[list[float]] = [[] for _ in targets]
    for _ in tqdm(range(timing.rounds), 'time', unit='round'):
        for one, spent in zip(passes, times, strict=True):
            start = time.perf_counter()
            one.run()
            spent.append(1e3 * (time.perf_counter() - start))
    medians = [statistics.median(spent) for spent in times]
    return [{'ms': ms, 'ms_rounds': spent, 'images_per_second': 1e3 * timing.batch / ms, 'peak_bytes': peak}
            for ms, spent, peak in zip(medians, times, peaks, strict=True)]


class _Pass:
    """A network on its device, and noise for it, which is made in the first pass."""

    def __init__(self, target: Target, timing: Timing) -> None:
        self.timing = timing
        self.name = f'{target.where}: {target.block["type"]}'
        self.network = build(target.block, target.where)
        self.shape = lq_shape(self.network, target.block, timing.size, timing.batch)
        self.lq: torch.Tensor | None = None

    def run(self) -> None:
        """Run the network once and wait until it is done; a ``UserError`` says where it fails."""
        device = self.timing.device
        try:
            if self.lq is None:
                self.network.to(device)
                self.lq = torch.rand(self.shape, device=device)
            # cuDNN tries its algorithms in the first pass, as in BasicSR's pipelines. TF32 is not float32.
            with (torch.inference_mode(), autocast(self.timing.precision, device),
                  torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)):
                self.network(self.lq)
                if device.type == 'cuda':
                    torch.cuda.synchronize(device)
        except Exception as error:  # any network, any failure
            if is_out_of_memory(error):
                raise UserError(f'{self.name} needs more memory than {device} has for {self.shape[0]} x LR '
                                f'{self.shape[2]}x{self.shape[3]}; take a smaller --time-size or --batch') from None
            raise failed(error, self.name, self.shape) from None

    def peak_bytes(self) -> int:
        """The most memory that tensors take while the network runs: its own, lq, and whatever the pass allocates."""
        tensors = [tensor for one in whole(self.network) for tensor in (*one.parameters(), *one.buffers())]
        tensors += [] if self.lq is None else [self.lq]
        return peak_allocated_bytes(self.run, self.timing.device) + sum(tensor.nbytes for tensor in tensors)
