"""Pairs and runs by name: ``SwinIR-EDSR_x4`` is a pair, ``train_FAKD_SwinIR-EDSR_x4`` a run, ``test_...`` its test.

``EDSR+RCAN-EDSR_x4`` is a pair of several teachers and a student, ``EDSR+RCAN_x4`` what aggregates their images.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from mipkd_arch.base.errors import UserError, near_miss

from ..networks.catalog import OFFICIAL
from .custom import CustomParts, Dataset, Teacher, aggregated
from .methods import AGGREGATION, FEATURE_LOSSES, METHODS, TEACHER, blocks_of
from .networks import PAIRS, SCALES, STUDENTS, TEACHER_PARAMETERS, TEACHERS, has_weights, teacher_block, teacher_key

TRIO = ('EDSR', 'RCAN', 'SwinIR')
"""The teachers that MTKD is published with; those of its runs where a pair names a student alone, as ``EDSR_x4``."""
SETS = ('Set5', 'Set14', 'BSD100', 'Urban100')
"""What students are measured on; during the training, on the first."""


class Pair(NamedTuple):
    """A teacher, a student and a scale, by their names in ``TEACHERS`` and ``STUDENTS``.

    Several teachers are joined by ``+``, and are their own student in a run that trains their aggregation.
    """
    teacher: str
    student: str
    scale: int

    @property
    def has_one_name(self) -> bool:
        """Whether one name stands for teacher and student, as in ``EDSR_x4``, or for what aggregates teachers."""
        return self.teacher == self.student

    @property
    def title(self) -> str:
        """The name without the scale."""
        return self.student if self.has_one_name else f'{self.teacher}-{self.student}'

    @property
    def is_of_one_family(self) -> bool:
        """Whether teacher and student differ in their sizes alone."""
        return STUDENTS[self.student].block['type'] == f'{self.teacher}Student'

    @property
    def name(self) -> str:
        """The name with the scale, such as ``SwinIR-EDSR_x4``."""
        return f'{self.title}_x{self.scale}'


_ALL_PAIRS = [Pair(teacher, student, scale) for teacher in TEACHERS for student in STUDENTS for scale in SCALES
              if has_weights(teacher, scale)]
_BY_NAME = {f'{pair.teacher}-{pair.student}_x{pair.scale}': pair for pair in _ALL_PAIRS}
_BY_NAME.update({pair.name: pair for pair in _ALL_PAIRS})


def parse_pair(name: str, several: bool = False) -> Pair:
    """The pair of that name; raises UserError if there is none. ``several`` allows for several teachers."""
    if several and '+' in name:
        return _parse_several(name)
    if name not in _BY_NAME:
        raise UserError(f'PAIR: {name!r} is not known{near_miss(name, _BY_NAME)}; allowed are '
                        f'<teacher>-<student>_x<scale> with teachers {", ".join(TEACHERS)}, students '
                        f'{", ".join(STUDENTS)}, scales {", ".join(map(str, SCALES))}, and EDSR_x4 for EDSR-EDSR_x4')
    return _BY_NAME[name]


def _parse_several(name: str) -> Pair:
    title, _, scale = name.rpartition('_x')
    teachers, _, student = title.partition('-')
    names = teachers.split('+')
    if scale not in map(str, SCALES) or student and student not in STUDENTS:
        raise UserError(f'PAIR: {name!r} is not known; several teachers are <teacher>+<teacher>-<student>_x<scale>, '
                        f'with students {", ".join(STUDENTS)} and scales {", ".join(map(str, SCALES))}; without '
                        f'-<student> for METHOD {AGGREGATION}')
    for teacher in names:
        if teacher not in TEACHERS or not has_weights(teacher, int(scale)) or names.count(teacher) > 1:
            fitting = [known for known in TEACHERS if has_weights(known, int(scale))]
            raise UserError(f'PAIR: {name!r} has the teacher {teacher!r}{near_miss(teacher, fitting)}; at x{scale} '
                            f'teachers are {", ".join(fitting)}, each once')
    return Pair(teachers, student or teachers, int(scale))


@dataclass(frozen=True)
class Run:
    """A pair trained by a method.

    With the method ``TEACHER`` it is a pair's teacher, which is only tested, with ``AGGREGATION`` the aggregation of
    several teachers, which learns from the ground truth alone.
    """
    pair: Pair
    method: str  # a name in ``METHODS`` or ``VARIANTS``, several joined by ``+``, ``TEACHER`` or ``AGGREGATION``
    is_entry: bool = False  # whether it is the one that the README starts with, which waits for no other run
    custom: CustomParts = CustomParts()  # parts of a user's own; a run with any waits for no other, either

    def __post_init__(self) -> None:
        if not self.is_teacher:
            blocks_of(self.method)  # raises where there is no such method
        fits = self.pair.has_one_name if self.is_aggregation else self.pair.student in STUDENTS
        if not fits:
            raise UserError(f'METHOD: {self.method!r} does not fit {self.pair.name}; {AGGREGATION} is for teachers '
                            f'alone, as in EDSR+RCAN_x{self.pair.scale}, all others are for teachers and a student')
        if self.is_teacher and '+' in self.pair.teacher:
            raise UserError(f'METHOD: {TEACHER} is for one teacher; what several make together is tested by '
                            f'{self.pair.teacher}_x{self.pair.scale} {AGGREGATION} --test')
        if self.selects_weights and not (self.custom.teachers or self.pair.is_of_one_family):
            raise UserError(f'METHOD: {self.method!r} does not fit {self.pair.name}, whose teacher is of another '
                            'family than the student; weights are taken of a larger network of one family, as in '
                            f'EDSR_x{self.pair.scale}')

    @property
    def is_teacher(self) -> bool:
        """Whether a teacher is tested."""
        return self.method == TEACHER

    @property
    def is_aggregation(self) -> bool:
        """Whether the aggregation of several teachers is trained."""
        return self.method == AGGREGATION

    @property
    def selects_weights(self) -> bool:
        """Whether the student starts from weights of the teacher."""
        return not self.is_teacher and 'weight_selection' in blocks_of(self.method)

    @property
    def is_custom(self) -> bool:
        """Whether it has parts of a user's own."""
        return self.custom.command is not None

    @property
    def name(self) -> str:
        """Of the training, and of its option file."""
        stem = 'MiPKD_x4' if self.is_entry else f'{self.method}_{self.pair.name}'
        return f'train_{stem}{self.custom.suffix}'

    @property
    def test_name(self) -> str:
        """Of the test, and of its option file."""
        return self.name.replace('train_', 'test_', 1)

    @property
    def row(self) -> str:
        """What tables call the run."""
        return f'{self.method} from scratch' if self.is_entry else self.method

    @property
    def student_file(self) -> str:
        """Path of the trained student."""
        return f'experiments/{self.name}/models/net_g_latest.pth'

    @property
    def start(self) -> Run | None:
        """The run that comes first because its student is the start of this one's, or None."""
        student = STUDENTS.get(self.pair.student)  # None for an aggregation
        is_edsr = student is not None and student.block['type'] == 'EDSRStudent'
        if not is_edsr or self.pair.scale != 4 or self.is_entry or self.is_custom or self.selects_weights:
            return None
        return replace(self, pair=self.pair._replace(scale=2))

    @property
    def aggregation(self) -> Run | None:
        """The run that comes first because it trains the aggregation of this one's teachers; None without one."""
        if self.is_teacher or self.is_aggregation or not self._has_several:
            return None
        own = [str(teacher.label) for teacher in self.custom.teachers]
        # A pair that names a student alone, as EDSR_x4, has the usual teachers.
        names = '+'.join(own or (TRIO if self.pair.has_one_name else [self.pair.teacher]))
        return replace(self, pair=Pair(names, names, self.pair.scale), method=AGGREGATION, is_entry=False)

    @property
    def _has_several(self) -> bool:
        return len(self.custom.teachers) > 1 or '+' in self.pair.teacher or 'mtkd_opt' in blocks_of(self.method)

    @property
    def teacher(self) -> Teacher:
        """The network that it learns from, or that it trains to make one image of those of several teachers."""
        run = self.aggregation or self
        parts = {str(teacher.label): teacher for teacher in self.custom.teachers} or {
            name: _published(name, self.pair.scale) for name in run.pair.teacher.split('+')}
        if not run.is_aggregation:
            return next(iter(parts.values()))
        features = run is not self and not FEATURE_LOSSES.isdisjoint(blocks_of(self.method))
        return aggregated(parts, self.pair.scale, None if run is self else run.student_file,
                          next(iter(parts)) if features else None)

    @property
    def data(self) -> Dataset:
        """What it is trained on."""
        folder = 'datasets/DIV2K/train'
        return self.custom.data or Dataset('DIV2K', f'{folder}_HR.lmdb', f'{folder}_LRx{self.pair.scale}.lmdb')

    @property
    def test_sets(self) -> list[Dataset]:
        """What the trained student is measured on; the first one also during the training."""
        folder = 'datasets/benchmark'
        return [self.custom.val] if self.custom.val else [
            Dataset(name, f'{folder}/{name}/HR', f'{folder}/{name}/LR_bicubic/X{self.pair.scale}') for name in SETS]


def _published(name: str, scale: int) -> Teacher:
    parameters = TEACHER_PARAMETERS.get(name, {}).get(scale)
    return Teacher(OFFICIAL[teacher_key(name, scale)].about, *teacher_block(name, scale), parameters)


ENTRY = Run(Pair('EDSR', 'EDSR', 4), 'MiPKD', is_entry=True)


def parse_run(name: str) -> Run:
    """The run whose training or test has that name: ``train_`` or ``test_<METHOD>_<PAIR>``, or one of ``ENTRY``."""
    if name in (ENTRY.name, ENTRY.test_name):
        return ENTRY
    phase, _, rest = name.partition('_')
    method, _, pair = rest.partition('_')
    if phase not in ('train', 'test') or not pair:
        raise UserError(f'--name: {name!r} is not train_<METHOD>_<PAIR> or test_<METHOD>_<PAIR>, as '
                        'train_FAKD_EDSR_x2 is')
    return Run(parse_pair(pair, several=True), method)


def chosen_runs(methods: Iterable[str] = tuple(METHODS)) -> list[Run]:
    """Every chosen pair at every scale by every method, each after the aggregation of teachers that it needs, if any.

    Methods of several teachers go with the pairs that name a student alone, whose teachers are ``TRIO``, those that
    take weights of the teacher with pairs of one family.
    """
    pairs = [Pair(teacher, student, scale) for teacher, student in PAIRS for scale in SCALES]
    runs = (Run(pair, method) for pair in pairs for method in methods
            if pair.is_of_one_family or 'weight_selection' not in METHODS.get(method, ()))
    fitting = (run for run in runs if run.aggregation is None or run.pair.has_one_name)
    return list(dict.fromkeys(needed for run in fitting for needed in (run.aggregation, run) if needed))
