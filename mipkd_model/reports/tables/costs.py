"""What networks cost to run and methods cost to train."""
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluation.records import Record
from ...experiments.methods import TEACHER
from .layouts import Table
from .measured import method_order
from .pair_table import UNKNOWN
from .results import pair_order

BASE = 'Logits-KD'
"""The method that the others' time is compared with."""
SLOWER = {'MiPKD': 0.38}
"""Published seconds that a step takes more than one of ``BASE``."""
RATIO = 'teacher / student'
UNITS = {'parameters': (1e6, 'M'), 'macs': (1e9, 'G')}
"""Of what is counted."""


def recorded_networks(records: dict[Path, Record]) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Option blocks of the networks of records, by pair, scale and ``teacher`` or ``student``."""
    return {(record.pair, record.scale, 'teacher' if record.method == TEACHER else 'student'): record.network
            for record in reversed(records.values())}


def network_rows(pairs: Sequence[tuple[str, int, Any, Any]], cost_of: Callable[[str, Any, int], Any]
                 ) -> list[dict[str, Any]]:
    """``parameters`` and ``macs`` of the networks of pairs, and for each pair a third row with the ratios.

    Args:
        pairs: title and scale of each, and what teacher and student are to ``cost_of``.
        cost_of: gets 'teacher' or 'student', which one, and the scale; gives None where its cost is not known.
    """
    rows = []
    for title, scale, *networks in pairs:
        costs = [cost_of(role, network, scale) for role, network in zip(('teacher', 'student'), networks, strict=True)]
        values = {name: [cost and getattr(cost, name) for cost in costs] for name in UNITS}
        for pair in values.values():
            pair.append(pair[0] / pair[1] if all(pair) else None)
        rows += [{'table': 'networks', 'pair': title, 'scale': scale, 'network': network,
                  **{name: pair[index] for name, pair in values.items()}}
                 for index, network in enumerate(('teacher', 'student', RATIO))]
    return rows


def network_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of ``network_rows`` as a table."""
    lines = []
    for names, row in zip(_names(rows), rows, strict=True):
        counts = [UNKNOWN if row[name] is None else f'{row[name]:.2f}' if row['network'] == RATIO else
                  f'{row[name] / unit:.2f}{letter}' for name, (unit, letter) in UNITS.items()]
        lines.append((*names, row['network'], *counts))
    note = '?: not known; the sizes of a teacher that spandrel opens are in the file of its weights'
    return Table('Networks: parameters, and multiply-accumulates (MACs) for 256x256 LR pixels',
                 ('Pair', 'Scale', 'Network', 'Parameters', 'MACs'), tuple(lines), 3,
                 (note, ) if any(UNKNOWN in line for line in lines) else ())


def training_rows(records: Mapping[Path, Record]) -> list[dict[str, Any]]:
    """How long an iteration of training took, as the runs of the records have it.

    For each pair, scale, method and device the mean over ``runs`` trainings, their sample standard deviation, and the
    difference to ``BASE``, measured and published; None where it is not known.
    """
    seconds: dict[tuple[str, int, str, str], dict[str, float]] = {}
    for record in records.values():
        training = record.training or {}
        if training.get('seconds_per_iteration') is not None:
            place = record.pair, record.scale, record.method, str(training.get('device', UNKNOWN))
            # The same run is in the record of each dataset.
            run = (record.checkpoint or {}).get('sha256') or record.name
            seconds.setdefault(place, {})[run] = float(training['seconds_per_iteration'])
    means = {place: statistics.fmean(runs.values()) for place, runs in seconds.items()}
    rows = []
    for place in sorted(means, key=lambda place: (pair_order(place[0]), place[1], place[3], method_order(place[2]))):
        pair, scale, method, device = place
        base = means.get((pair, scale, BASE, device)) if device != UNKNOWN and method != BASE else None
        runs = seconds[place].values()
        rows.append({'table': 'training', 'pair': pair, 'scale': scale, 'method': method, 'device': device,
                     'seconds_per_iteration': means[place], 'std': statistics.stdev(runs) if len(runs) > 1 else None,
                     'runs': len(runs), 'difference': None if base is None else means[place] - base,
                     'published_difference': SLOWER.get(method)})
    return rows


def training_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of ``training_rows`` as a table."""
    lines = []
    for names, row in zip(_names(rows), rows, strict=True):
        std = '' if row['std'] is None else f' ± {row["std"]:.3f} (n = {row["runs"]})'
        differences = ['' if row['method'] == BASE else UNKNOWN if row[key] is None else f'{row[key]:+.{digits}f}'
                       for key, digits in (('difference', 3), ('published_difference', 2))]
        lines.append((*names, row['method'], row['device'], f'{row["seconds_per_iteration"]:.3f}{std}', *differences))
    notes = ['±: sample standard deviation over n runs'] if any(row['std'] is not None for row in rows) else []
    notes += [f'difference: to {BASE} of the same pair, scale and device; published: as stated about MiPKD (arXiv '
              "2404.02573), on the authors' machine", '?: not measured on that device, or not published']
    return Table('Training: seconds per iteration', ('Pair', 'Scale', 'Method', 'Device', 's/iteration', 'difference',
                                                     'published'), tuple(lines), 4,
                 tuple(notes) if lines else ('no record says how long an iteration of its training took', ))


def _names(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Pair and scale of each row, empty where they are those of the row above."""
    last = None, None
    for row in rows:
        pair, scale = row['pair'], row['scale']
        yield '' if pair == last[0] else pair, '' if (pair, scale) == last else f'x{scale}'
        last = pair, scale
