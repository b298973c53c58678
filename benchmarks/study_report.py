"""What came of a study, from its records alone: tables in Markdown, and figures by kind, set and method."""
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from study_file import Study
from study_plan import TEACHER, best_for, best_trial, mean_end
from study_records import Record, Results, Run, at_end
from study_table import markdown, without_empty_columns
from study_time import seconds_at

BASE = 'logits-KD'
"""The method whose end the others' iterations and time are counted to."""


def of_runs(study: Study, kind: str, variant: str, length: int, results: Results) -> list[Record]:
    """The records of a variant that are there, in the order of the seeds."""
    runs = [Run(kind, variant, length, seed) for seed in study.seeds]
    return [results.runs[run] for run in runs if run in results.runs]


def by_method(study: Study, kind: str, length: int, results: Results) -> dict[str, tuple[str, list[Record]]]:
    """By method its best trial, so far as trials are done, and the records of it at a length; without those of none."""
    found = {}
    for name, method in study.methods_of(kind).items():
        trial = best_for(study, kind, method, length, results.runs, so_far=True)
        if trial and (records := of_runs(study, kind, trial, length, results)):
            found[name] = trial, records
    return found


def tested(records: Iterable[Record]) -> list[str]:
    """The sets that records are tested on, in their order."""
    return list(dict.fromkeys(name for record in records for name in record['test']))


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and sample standard deviation, None of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def figures(study: Study, results: Results, length: int) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """By kind, test set and method the mean PSNR in dB, its standard deviation over seeds, and the seeds' number."""
    found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for kind in study.kinds:
        sets = found.setdefault(kind, {})
        for method, (_, records) in by_method(study, kind, length, results).items():
            for name in tested(records):
                values = [record['test'][name]['psnr'] for record in records if name in record['test']]
                mean, sd = mean_sd(values)
                sets.setdefault(name, {})[method] = {
                    'psnr': round(mean, 4), 'sd': None if sd is None else round(sd, 4), 'seeds': len(values)}
    return found


def report(study: Study, results: Results) -> tuple[str, dict[str, Any]]:
    """The tables, and ``figures`` at the longest length with those of the shorter one beside the kinds."""
    parts = []
    for kind in study.kinds:
        for length in study.lengths:
            if found := by_method(study, kind, length, results):
                parts.append(f'### {kind}, {length:,} iterations\n\n{kind_table(study, kind, length, found, results)}')
        if rows := ordering_table(study, kind, results):
            parts.append(f'### {kind}, what is published of the parts of MiPKD, {study.lengths[0]:,} iterations\n\n'
                         f'{rows}')
    if rows := trial_table(study, results):
        parts.append(f'### Trials, {study.lengths[0]:,} iterations, PSNR on {study.chosen_by}\n\n{rows}')
    last: dict[str, Any] = dict(figures(study, results, study.lengths[-1]))
    if len(study.lengths) > 1:
        last['short'] = figures(study, results, study.lengths[0])
    return '\n\n'.join(parts), last


def kind_table(study: Study, kind: str, length: int, found: Mapping[str, tuple[str, list[Record]]], results: Results
               ) -> str:
    """One row for each method: PSNR and SSIM of the test sets, agreement with the teacher, and time."""
    sets = tested(record for _, records in found.values() for record in records)
    names = [*sets, *([study.chosen_by] if study.chosen_by not in sets else [])]
    rows = [['PSNR on Y / SSIM', 'seeds', *names, f'to the teacher: {", ".join(sets)}', 'ms a step',
             f'to the end of {BASE}: iterations / minutes']]
    if teacher := results.runs.get(Run(kind, TEACHER, 0, 0)):
        rows.append([TEACHER, '', *(cell([teacher], name) for name in names), '', '', ''])
    reached = iterations_to_base(study, found)
    for method, (trial, records) in found.items():
        near = [[record['psnr_teacher'][name] for record in records if name in record.get('psnr_teacher', {})]
                for name in sets]
        step = results.steps.get((kind, method))
        rows.append([trial, str(len(records)), *(cell(records, name) for name in names),
                     ', '.join(f'{statistics.fmean(values):.2f}' if values else '?' for values in near if any(near)),
                     f'{1000 * statistics.fmean(step["seconds"]):.0f}' if step else '',
                     reached_cell(reached[method], step, length) if method in reached else ''])
    return markdown(without_empty_columns(rows))


def cell(records: Iterable[Record], name: str) -> str:
    """Mean PSNR ± standard deviation, and mean SSIM of what is tested."""
    ends = [(at_end(record, name), record['test'].get(name, {}).get('ssim')) for record in records]
    values = [psnr for psnr, _ in ends if psnr is not None]
    if not values:
        return ''
    mean, sd = mean_sd(values)
    ssims = [ssim for _, ssim in ends if ssim is not None]
    return (f'{mean:.2f}' + ('' if sd is None else f' ± {sd:.2f}')
            + (f' / {statistics.fmean(ssims):.4f}' if ssims else ''))


def curve(records: Sequence[Record], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Iterations at which a set was watched in all runs, and the mean PSNR there, both (n,)."""
    watched = [record['watched'].get(name, {}) for record in records]
    shared = sorted(set.intersection(*map(set, watched)), key=int)
    return np.array([int(at) for at in shared]), np.array([statistics.fmean(run[at] for run in watched)
                                                           for at in shared])


def iterations_to_base(study: Study, found: Mapping[str, tuple[str, list[Record]]]) -> dict[str, float | None]:
    """Iterations until the mean of each method is, on what is held out, where logits-KD ends; None where it never is.

    Between two validations the PSNR is taken as linear.
    """
    if BASE not in found:
        return {}
    _, base = curve(found[BASE][1], study.chosen_by)
    reached: dict[str, float | None] = {}
    for method, (_, records) in found.items():
        iterations, psnr = curve(records, study.chosen_by)
        if not len(base) or not len(psnr):
            continue
        above = np.flatnonzero(psnr >= base[-1])
        if not len(above):
            reached[method] = None
            continue
        place = int(above[0])
        reached[method] = float(iterations[place]) if place == 0 else float(np.interp(
            base[-1], psnr[place - 1:place + 1], iterations[place - 1:place + 1]))
    return reached


def reached_cell(iterations: float | None, step: Mapping[str, Any] | None, length: int) -> str:
    """These iterations of a training of that length, and the minutes that they take where a step was measured."""
    if iterations is None:
        return 'never'
    return f'{iterations:,.0f}' + (f' / {seconds_at(step, length, iterations) / 60:.1f}' if step else '')


def verdict(better: Sequence[float], worse: Sequence[float]) -> tuple[float, float | None, str]:
    """Difference of the means, the larger standard deviation of the two, and what they say of "better".

    Confirmed, or refuted, is what is beyond one standard deviation; with fewer than two seeds all is undecided.
    """
    (first, first_sd), (second, second_sd) = mean_sd(better), mean_sd(worse)
    if first_sd is None or second_sd is None:
        return first - second, None, 'undecided'
    difference, spread = first - second, max(first_sd, second_sd)
    says = 'undecided' if abs(difference) <= spread else 'confirmed' if difference > 0 else 'refuted'
    return difference, spread, says


def ordering_table(study: Study, kind: str, results: Results) -> str:
    """One row for each ordering whose two variants have records: differences of PSNR by set, and the verdicts."""
    length = study.lengths[0]
    sets = [*study.test, *([study.chosen_by] if study.chosen_by not in study.test else [])]
    rows = [['what is published', 'better - worse', 'seeds', *sets]]
    for entry in study.orderings:
        found = [of_runs(study, kind, variant, length, results) for variant in (entry.better, entry.worse)]
        seeds = set.intersection(*({record['seed'] for record in records} for records in found))
        if seeds:  # those of both, so that what differs is the variant alone
            pair = [[record for record in records if record['seed'] in seeds] for records in found]
            rows.append([entry.statement, f'{entry.better} - {entry.worse}', str(len(seeds)),
                         *(_verdict_cell(pair, name) for name in sets)])
    return markdown(without_empty_columns(rows)) if len(rows) > 1 else ''


def _verdict_cell(pair: Sequence[Sequence[Record]], name: str) -> str:
    better, worse = ([end for record in records if (end := at_end(record, name)) is not None] for records in pair)
    if not better or not worse:
        return ''
    difference, spread, says = verdict(better, worse)
    return f'{difference:+.2f}' + ('' if spread is None else f' ± {spread:.2f}') + f' {says}'


def trial_table(study: Study, results: Results) -> str:
    """One row for each trial of the methods that have several, by kind what it is chosen by; the best are bold."""
    length, seed = study.lengths[0], study.seeds[0]
    rows = [['trial', *study.kinds]]
    for method in study.methods.values():
        if len(method.trials) == 1:
            continue
        best = {kind: best_trial(study, kind, method, results.runs, so_far=True) for kind in study.kinds}
        for trial in method.trials:
            cells = []
            for kind in study.kinds:
                end = mean_end(study, Run(kind, trial, length, seed), results.runs, (seed, ))
                text = '' if end is None else f'{end:.3f}'
                cells.append(f'**{text}**' if trial == best[kind] else text)
            if any(cells):
                rows.append([trial, *cells])
    return markdown(rows) if len(rows) > 1 else ''


def variant_table(study: Study, results: Results) -> tuple[str, dict[str, dict[str, dict[str, float]]]]:
    """All variants of a study of one kind and length as a table, and mean, number and standard deviation by set."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for method in study.methods.values():
        for variant in method.trials:
            records = of_runs(study, next(iter(study.kinds)), variant, study.lengths[0], results)
            sets = list(dict.fromkeys(name for record in records for name in (*record['test'], *record['watched'])))
            for name in sets:
                mean, sd = mean_sd([end for record in records if (end := at_end(record, name)) is not None])
                found.setdefault(variant, {})[name] = {'mean': round(mean, 4), 'n': len(records), **(
                    {} if sd is None else {'std': round(sd, 4)})}
    names = list(dict.fromkeys(name for sets in found.values() for name in sets))
    rows = [['PSNR on Y', 'seeds', *names]]
    for variant, of_sets in found.items():
        cells = [f'{x["mean"]:.2f}' + (f' ± {x["std"]:.2f}' if 'std' in x else '') if (x := of_sets.get(name)) else ''
                 for name in names]
        rows.append([variant, str(max(x['n'] for x in of_sets.values())), *cells])
    return (markdown(without_empty_columns(rows)) if found else ''), found
