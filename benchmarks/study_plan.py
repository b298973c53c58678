"""What a study trains: a pure function of the study and of the records that there are.

All methods train for the first length: every trial of each with the first seed, then the best trial with the other
seeds. Some methods train for the second length as well, among them the best rivals of the first. Where another trial
has been trained for that, too, and ends higher, it is the one that goes on there. What is best follows from a set that
is held out of the training photographs, at the end of the training, never from a test set.
"""
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from study_file import Method, Study
from study_records import Record, Run, at_end

TEACHER = 'teacher'
"""The variant of a record of the teacher as it is."""


class Planned(NamedTuple):
    """A run of a plan."""
    stage: str  # grid, seeds, long, ablations
    kind: str
    method: str
    variant: str | None  # None as long as it is not known which trial is the best
    iters: int
    seed: int

    @property
    def run(self) -> Run | None:
        """The training; None as long as it is not known."""
        return None if self.variant is None else Run(self.kind, self.variant, self.iters, self.seed)


def plan(study: Study, records: Mapping[Run, Record]) -> list[Planned]:
    """All runs of a study, in the order in which they are trained."""
    stages: dict[str, list[Planned]] = {'grid': [], 'seeds': [], 'long': [], 'ablations': []}

    def add(stage: str, kind: str, method: str, variant: str | None, iters: int, seed: int) -> None:
        stages[stage].append(Planned(stage, kind, method, variant, iters, seed))

    first, *longer = study.lengths
    for kind in study.kinds:
        methods = study.methods_of(kind)
        best = {name: best_trial(study, kind, method, records) for name, method in methods.items()}
        for name, method in methods.items():
            for trial in method.trials:
                add('grid', kind, name, trial, first, study.seeds[0])
        for seed in study.seeds[1:]:
            for name in methods:
                add('seeds', kind, name, best[name], first, seed)
        for length in longer:
            names: list[str | None] = [name for name in study.longer if name in methods]
            names += best_rivals(study, kind, records)
            trials = [name and best_for(study, kind, methods[name], length, records) for name in names]
            for seed in study.seeds:
                for place, (entry, trial) in enumerate(zip(names, trials, strict=True)):
                    add('long', kind, entry or f'rival {place}', trial, length, seed)
    for seed in study.seeds:
        for name in study.ablations:
            add('ablations', next(iter(study.kinds)), name, name, first, seed)
    return [planned for stage in stages.values() for planned in stage]


def due(study: Study, records: Mapping[Run, Record]) -> list[Run]:
    """The runs of the plan that can be trained now: what they are is known, and they are not yet done."""
    return [run for planned in plan(study, records) if (run := planned.run) and run not in records
            and all(before in records for before in needed(study, run))]


def needed(study: Study, run: Run) -> list[Run]:
    """The runs of the plan whose students a run of generated option files starts from."""
    if not study.is_generated:
        return []
    from mipkd_model.experiments import runs
    start = runs.Run(runs.parse_pair(run.kind), run.variant).start
    return [run._replace(kind=start.pair.name)] if start and start.pair.name in study.kinds else []


def best_trial(study: Study, kind: str, method: Method, records: Mapping[Run, Record], so_far: bool = False,
               length: int | None = None) -> str | None:
    """The trial of a method that ends highest on what is held out; None before all are done, or any if ``so_far``.

    Args:
        length: of the trainings that are compared; None: the first.
    """
    if len(method.trials) == 1:
        return next(iter(method.trials))
    length = length or study.lengths[0]
    ends = {trial: end for trial in method.trials
            if (end := mean_end(study, Run(kind, trial, length, study.seeds[0]), records, study.seeds[:1]))}
    return max(ends, key=ends.__getitem__) if ends and (so_far or len(ends) == len(method.trials)) else None


def best_for(study: Study, kind: str, method: Method, length: int, records: Mapping[Run, Record],
             so_far: bool = False) -> str | None:
    """The best trial of the first length, unless another was trained for this one, too, and ends higher there.

    With ``so_far``, as long as the best of the first length has not been trained for this one, the best that has.
    """
    best = best_trial(study, kind, method, records, so_far)
    if best is None or not so_far and Run(kind, best, length, study.seeds[0]) not in records:
        return best
    return best_trial(study, kind, method, records, so_far=True, length=length) or best


def best_rivals(study: Study, kind: str, records: Mapping[Run, Record]) -> list[str | None]:
    """The rivals that end highest at the first length, in the mean over seeds; None for each before all are done."""
    ends: dict[str, float] = {}
    candidates = {name: method for name, method in study.methods_of(kind).items()
                  if name not in (*study.longer, *study.ours)}
    for name, method in candidates.items():
        trial = best_trial(study, kind, method, records)
        end = trial and mean_end(study, Run(kind, trial, study.lengths[0], 0), records, study.seeds)
        if not end:
            return [None] * min(study.rivals, len(candidates))
        ends[name] = end
    return sorted(ends, key=ends.__getitem__, reverse=True)[:study.rivals]  # type: ignore[return-value]


def mean_end(study: Study, run: Run, records: Mapping[Run, Record], seeds: tuple[int, ...]) -> float | None:
    """The mean over these seeds of a run's PSNR on what is held out, at its end; None where one is not done."""
    ends = [at_end(records[one], study.chosen_by) if (one := run._replace(seed=seed)) in records else None
            for seed in seeds]
    return None if None in ends else statistics.fmean(ends)  # type: ignore[arg-type]
