"""What a study costs: how long a step of each method takes, measured in turns, or estimated from operations."""
import functools
import json
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study_file import Study
from study_options import Job, options_of
from study_plan import Planned
from study_records import Results, Run
from study_table import markdown

PARTS = 2
"""Of a training, in the middle of which steps are measured: most losses have no weight in the second half."""
STEPS = 10
"""Successive steps that are measured together: losses choose at random in each, or take longer in one of ten."""


def measure_steps(study: Study, kind: str, rounds: int, jobs: int, place: str | None) -> list[dict[str, Any]]:
    """The mean time of a step in each part of the training, of all methods of a kind, in turns on a batch of noise.

    The median over the rounds, in each of which all methods take their turn, so that whatever else the machine does
    slows down all alike. The teachers' files have to be there.

    Args:
        jobs: trainings at a time, which share the cores.
        place: the device, such as 'cpu' or 'cuda:1'; None: a GPU where there is one.
    """
    from step_setup import Ours, in_pipeline, noise, wait  # before torch: it says how torch's threads wait

    # isort: split
    import torch
    from tqdm import tqdm

    from mipkd_model.config.checks import check_options
    from mipkd_model.evaluation.provenance import device_name

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    device = torch.device(place or ('cuda' if torch.cuda.is_available() else 'cpu'))
    if device.index is not None:
        torch.cuda.set_device(device)
    iters, trainings, batches = study.lengths[0], {}, {}
    for name, method in study.methods_of(kind).items():
        run = Run(kind, next(iter(method.trials)), iters, study.seeds[0])
        opt, _ = options_of(study, run, Job(Path(), Path(), 'run', 'test'))
        check_options(opt, is_train=True)
        train = opt['datasets']['train']
        batches[name] = noise(train['batch_size_per_gpu'], train['gt_size'] // opt['scale'], opt['scale'], device)
        trainings[name] = Ours(in_pipeline(opt, device))

    times: dict[str, list[list[float]]] = {name: [] for name in trainings}
    for _ in tqdm(range(rounds + 1), f'{kind}: steps', unit='round'):
        for name, training in trainings.items():
            parts = []
            for part in range(PARTS):
                begin = iters * (2 * part + 1) // (2 * PARTS)
                start = time.perf_counter()
                for iteration in range(begin + 1, begin + 1 + STEPS):
                    training.step(batches[name], iteration)
                wait(device)
                parts.append((time.perf_counter() - start) / STEPS)
            times[name].append(parts)
    return [{'kind': kind, 'method': name, 'device': device_name(device), 'threads': torch.get_num_threads(),
             'seconds': [statistics.median(part) for part in zip(*of[1:], strict=True)]}  # the first round warms up
            for name, of in times.items()]


def seconds_at(step: Mapping[str, Any], iters: int, iteration: float) -> float:
    """How long a training of ``iters`` iterations takes to one of them, by the measured times of a step."""
    length = iters / len(step['seconds'])
    return sum(seconds * min(max(iteration - part * length, 0), length)
               for part, seconds in enumerate(step['seconds']))


def core_hours(planned: Planned, results: Results) -> float | None:
    """What a run takes, by the measured steps: of the mean rival where it is not known which; None: not measured."""
    named = [step for (kind, method), step in results.steps.items()
             if kind == planned.kind and (method == planned.method or planned.method.startswith('rival '))]
    if not named and planned.stage == 'ablations':
        named = [step for (kind, method), step in results.steps.items() if kind == planned.kind and method == 'MiPKD']
    hours = [seconds_at(step, planned.iters, planned.iters) * step['threads'] / 3600 for step in named]
    return statistics.fmean(hours) if hours else None


def cost_table(planned: list[Planned], results: Results) -> str:
    """Runs and core hours, by kind and stage, as Markdown; a cost with a ? has steps that are not measured."""
    groups: dict[tuple[str, str], list[Planned]] = {}
    for one in planned:
        groups.setdefault((one.kind, one.stage), []).append(one)
    rows = [['kind', 'stage', 'runs', 'iterations', 'core hours']]
    for (kind, stage), runs in [*groups.items(), (('all', ''), planned)]:
        hours = [core_hours(one, results) for one in runs]
        rows.append([kind, stage, str(len(runs)), f'{sum(one.iters for one in runs):,}',
                     f'{sum(filter(None, hours)):.1f}{" + ?" if None in hours else ""}'])
    return f'{markdown(rows)}\nCore hours by measured steps (--time), without validation.'


def gpu_hours(study: Study, tflops: float) -> dict[tuple[str, str], float]:
    """An estimate by pair and method, where option files are generated: operations at a sustained rate.

    Args:
        tflops: 10^12 operations per second, two for each multiply-accumulate of ``mipkd profile``.
    """
    hours, macs = {}, functools.cache(_macs)
    for kind in study.kinds:
        for method in study.methods_of(kind):
            run = Run(kind, method, study.lengths[0], 0)
            opt, _ = options_of(study, run, Job.of(study, run, Path()))
            data = opt['datasets']['train']
            networks = [macs(json.dumps(opt[key]), data['gt_size'] // opt['scale']) if key in opt else 0
                        for key in ('network_t', 'network_g')]
            step = 2 * data['batch_size_per_gpu'] * sum(passes * of for passes, of in
                                                        zip(study.passes[method], networks, strict=True))
            hours[kind, method] = opt['train']['total_iter'] * step / (tflops * 1e12) / 3600
    return hours


def _macs(block: str, side: int) -> int:
    """Multiply-accumulates of a network, by its block in JSON, for LR patches; of an ensemble those of its teachers."""
    from mipkd_model.reports.profiling.macs import network_cost
    network = json.loads(block)
    return sum(network_cost({name: value for name, value in one.items() if name != 'file'}, side).macs
               for one in network.get('teachers', {'': network}).values())


def gpu_table(study: Study, planned: list[Planned], tflops: float) -> str:
    """``gpu_hours`` of runs as Markdown, a row for each pair."""
    hours = gpu_hours(study, tflops)
    wanted = {(one.kind, one.method): hours[one.kind, one.method] for one in planned}
    rows = [['GPU hours', *study.methods, 'all']]
    for kind in study.kinds:
        values = [wanted.get((kind, method), 0) for method in study.methods]
        rows.append([kind, *(f'{value:.1f}' for value in (*values, sum(values)))])
    return (f'{markdown(rows)}\nAn estimate, not measured: {sum(wanted.values()):.0f} GPU hours for {len(wanted)} runs '
            f'of {study.lengths[0]:,} iterations at a sustained {tflops:g} TFLOP/s (--tflops).')
