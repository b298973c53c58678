"""What networks cost to run and methods cost to train."""
import statistics

from ...experiments.methods import TEACHER
from .cells import in_order
from .grids import UNKNOWN
from .layouts import Grid
from .pair_tables import pair_order

REFERENCE = {
    ('teacher', 'EDSR'): {2: (40.73, None), 3: (43.68, None), 4: (43.09, 3293.35)},
    ('student', 'EDSR'): {2: (2.55, None), 3: (2.74, None), 4: (2.70, 207.28)},
    ('teacher', 'RCAN'): {2: (15.44, None), 3: (15.63, None), 4: (15.59, 1043.2)},
    ('student', 'RCAN'): {2: (5.02, None), 3: (5.21, None), 4: (5.17, 366.7)},
    ('teacher', 'SwinIR'): {2: (11.75, None), 3: (11.94, None), 4: (11.90, 856.9)},
    ('student', 'SwinIR'): {2: (1.09, None), 3: (1.27, None), 4: (1.24, 120.5)},
}
"""Millions of parameters and billions of multiply-accumulates at 256x256 LR pixels, by scale."""
REFERENCE_SOURCE = "the networks of the paper's pairs, counted from BasicSR's layers"
BASE = 'Logits-KD'
"""The method that the others' time is compared with."""
SLOWER = {'MiPKD': 0.38}
"""Seconds that a step takes more than one of ``BASE``."""
SLOWER_SOURCE = "as stated about MiPKD (arXiv 2404.02573), on the authors' machine"
RATIO = 'teacher / student'
COUNTS = ('parameters', 'macs')
_UNITS = {'parameters': (1e6, '{:.2f}M', '{:.2f}M'), 'macs': (1e9, '{:.2f}G', '{:g}G')}
"""How many one is, how counted ones are shown, how those of ``REFERENCE`` are."""


def recorded_networks(records):
    """The networks that records are of: dict of option blocks by pair, scale and ``teacher`` or ``student``."""
    found = {}
    for record in records.values():
        role = 'teacher' if record.method == TEACHER else 'student'
        found.setdefault((record.pair, record.scale, role), record.network)
    return found


def network_rows(pairs, costs):
    """Costs of the networks of pairs.

    Args:
        pairs (list[tuple]): title and scale of each, and what teacher and student are: their names, or anything else
            that ``costs`` knows.
        costs (callable): ('teacher' or 'student', which, scale) to an object with ``parameters`` and ``macs``, or to
            None where they are not known.

    Returns:
        list[dict]: for each network its ``parameters`` and ``macs``, and the same as ``reference_parameters`` and
        ``reference_macs``; for each pair a third one with the ratios. None where it is not known.
    """
    rows = []
    for title, scale, *networks in pairs:
        of_pair = []
        for role, network in zip(('teacher', 'student'), networks, strict=True):
            cost = costs(role, network, scale)
            known = REFERENCE.get((role, network) if isinstance(network, str) else None, {}).get(scale, (None, None))
            of_pair.append({'table': 'networks', 'pair': title, 'scale': scale, 'network': role,
                            **{count: cost and getattr(cost, count) for count in COUNTS},
                            **{f'reference_{count}': value and round(value * _UNITS[count][0])
                               for count, value in zip(COUNTS, known, strict=True)}})
        teacher, student = of_pair
        ratio = {count: teacher[count] / student[count] if teacher[count] and student[count] else None
                 for count in COUNTS}
        rows += [teacher, student, {key: teacher[key] for key in ('table', 'pair', 'scale')}
                 | {'network': RATIO} | ratio]
    return rows


def network_grid(rows):
    """The rows of ``network_rows`` as a grid."""
    lines = []
    for names, row in zip(_names(rows), rows, strict=True):
        lines.append((*names, row['network'], *(_count(row, key, count) for count in COUNTS
                                                for key in (count, f'reference_{count}'))))
    notes = [f'reference: {REFERENCE_SOURCE}']
    if any(UNKNOWN in line for line in lines):
        notes.append("?: not known; a teacher that brings its own sizes needs the file of its weights")
    return Grid('Networks: parameters, and multiply-accumulates (MACs) for 256x256 LR pixels',
                ('Pair', 'Scale', 'Network', 'Parameters', 'reference', 'MACs', 'reference'), tuple(lines), 3,
                tuple(notes))


def training_rows(records):
    """How long a step of training took, by what the runs of the records say.

    Args:
        records (dict[Path, Record]): as ``find_records`` gives them.

    Returns:
        list[dict]: for each pair, scale, method and device ``seconds_per_iteration``: mean over ``runs`` trainings,
        ``std`` their sample standard deviation, ``difference`` to ``BASE`` of the same pair, scale and device, and
        ``published_difference``. None where it is not known.
    """
    seconds = {}
    for record in records.values():
        training = record.training or {}
        if training.get('seconds_per_iteration') is not None:
            place = record.pair, record.scale, record.method, str(training.get('device', UNKNOWN))
            # The same run is in the record of each data set.
            run = (record.checkpoint or {}).get('sha256') or record.name
            seconds.setdefault(place, {})[run] = float(training['seconds_per_iteration'])
    means = {place: statistics.fmean(runs.values()) for place, runs in seconds.items()}
    rows = []
    for place in sorted(means, key=lambda place: (pair_order(place[0]), place[1], place[3], in_order(place[2]))):
        pair, scale, method, device = place
        base = means.get((pair, scale, BASE, device)) if device != UNKNOWN and method != BASE else None
        runs = seconds[place].values()
        rows.append({'table': 'training', 'pair': pair, 'scale': scale, 'method': method, 'device': device,
                     'seconds_per_iteration': means[place], 'std': statistics.stdev(runs) if len(runs) > 1 else None,
                     'runs': len(runs), 'difference': None if base is None else means[place] - base,
                     'published_difference': SLOWER.get(method)})
    return rows


def training_grid(rows):
    """The rows of ``training_rows`` as a grid."""
    lines = []
    for names, row in zip(_names(rows), rows, strict=True):
        spread = '' if row['std'] is None else f' ± {row["std"]:.3f} (n = {row["runs"]})'
        lines.append((*names, row['method'], row['device'], f'{row["seconds_per_iteration"]:.3f}{spread}',
                      *('' if row['method'] == BASE else UNKNOWN if row[key] is None else f'{row[key]:+.{digits}f}'
                        for key, digits in (('difference', 3), ('published_difference', 2)))))
    notes = [] if lines else ['no record says how long a step of its training took']
    if any('±' in line[4] for line in lines):
        notes.append('±: sample standard deviation over n runs')
    if lines:
        notes += [f'difference: to {BASE} of the same pair, scale and device; published: {SLOWER_SOURCE}',
                  '?: not measured on that device, or not published']
    return Grid('Training: seconds per iteration', ('Pair', 'Scale', 'Method', 'Device', 's/iteration', 'difference',
                                                    'published'), tuple(lines), 4, tuple(notes))


def _names(rows):
    """Pair and scale of each row, empty where they are those of the row above."""
    last = None, None
    for row in rows:
        pair, scale = row['pair'], row['scale']
        yield '' if pair == last[0] else pair, '' if (pair, scale) == last else f'x{scale}'
        last = pair, scale


def _count(row, key, count):
    if key not in row:
        return ''
    if row[key] is None:
        return UNKNOWN
    if row['network'] == RATIO:
        return f'{row[key]:.2f}'
    unit, *texts = _UNITS[count]
    return texts[key != count].format(row[key] / unit)
