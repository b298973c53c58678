"""Pairs and runs by name: ``SwinIR-EDSR_x4`` is a pair, ``train_FAKD_SwinIR-EDSR_x4`` a run, ``test_...`` its test."""
from dataclasses import dataclass, replace

from mipkd_arch.base.errors import UserError, near_miss

from .data_set import DataSet, benchmark, div2k
from .methods import METHODS, TEACHER, blocks_of
from .networks import PAIRS, SCALES, STUDENTS, TEACHERS
from .own import Own
from .schedule import Schedule
from .teacher import Teacher, published_teacher

SETS = ('Set5', 'Set14', 'BSD100', 'Urban100')
"""What students are measured on; during the training, on the first."""


@dataclass(frozen=True)
class Pair:
    """A teacher, a student and a scale."""
    teacher: str
    """A name in ``TEACHERS``."""
    student: str
    """A name in ``STUDENTS``."""
    scale: int

    @property
    def title(self):
        """The name without the scale: one name stands for teacher and student of the same name."""
        return self.student if self.teacher == self.student else f'{self.teacher}-{self.student}'

    @property
    def name(self):
        return f'{self.title}_x{self.scale}'


_ALL_PAIRS = [Pair(teacher, student, scale) for teacher in TEACHERS for student in STUDENTS for scale in SCALES]
_BY_NAME = {f'{pair.teacher}-{pair.student}_x{pair.scale}': pair for pair in _ALL_PAIRS}
_BY_NAME.update({pair.name: pair for pair in _ALL_PAIRS})


def parse_pair(name):
    """The pair of that name.

    Raises:
        UserError: there is none.
    """
    if name not in _BY_NAME:
        raise UserError(f'PAIR: {name!r} is not known{near_miss(name, _BY_NAME)}; allowed are '
                        f'<teacher>-<student>_x<scale> with teachers {", ".join(TEACHERS)}, students '
                        f'{", ".join(STUDENTS)}, scales {", ".join(map(str, SCALES))}, and EDSR_x4 for EDSR-EDSR_x4')
    return _BY_NAME[name]


@dataclass(frozen=True)
class Run:
    """A pair trained by a method, or, with the method ``TEACHER``, a pair's teacher, which has a test alone."""
    pair: Pair
    method: str
    """A name in ``METHODS`` or ``VARIANTS``, several joined by ``+``, or ``TEACHER``."""
    is_entry: bool = False
    """Whether it is the one that the README starts with, which waits for no other run."""
    own: Own | None = None
    """What its user has put in place of parts of it; such a run waits for no other, either."""

    def __post_init__(self):
        if not self.is_teacher:
            blocks_of(self.method)  # raises where there is no such method

    @property
    def is_teacher(self):
        return self.method == TEACHER

    @property
    def name(self):
        """Of the training, and of its option file."""
        return f'train_{self._stem}'

    @property
    def test_name(self):
        """Of the test, and of its option file."""
        return f'test_{self._stem}'

    @property
    def _stem(self):
        stem = 'MiPKD_x4' if self.is_entry else f'{self.method}_{self.pair.name}'
        return f'{stem}_{self.own.suffix}' if self.own else stem

    @property
    def title(self):
        """What tables call the pair."""
        if self.own and self.own.teacher:
            return f'{self.own.teacher.label}-{self.pair.student}'
        return self.pair.title

    @property
    def row(self):
        """What tables call it, in the block of its pair."""
        return f'{self.method} from scratch' if self.is_entry else self.method

    @property
    def student_file(self):
        """The trained student."""
        return f'experiments/{self.name}/models/net_g_latest.pth'

    @property
    def start(self):
        """The run that has to come first because its student is the start of this one's, or None."""
        is_edsr = STUDENTS[self.pair.student].block['type'] == 'EDSRStudent'
        if not is_edsr or self.pair.scale != 4 or self.is_entry or self.own:
            return None
        return replace(self, pair=replace(self.pair, scale=2))

    @property
    def teacher(self) -> Teacher:
        """The network that it learns from."""
        return self.own and self.own.teacher or published_teacher(self.pair.teacher, self.pair.scale)

    @property
    def data(self) -> DataSet:
        """What it is trained on."""
        return self.own and self.own.data or div2k(self.pair.scale)

    @property
    def test_sets(self) -> list[DataSet]:
        """What the trained student is measured on; the first one also during the training."""
        return [self.own.val] if self.own and self.own.val else [benchmark(name, self.pair.scale) for name in SETS]

    @property
    def schedule(self) -> Schedule:
        """How long it trains."""
        return Schedule(self.own.total_iter) if self.own and self.own.total_iter else Schedule()


ENTRY = Run(Pair('EDSR', 'EDSR', 4), 'MiPKD', is_entry=True)


def parse_run(name):
    """The run whose training or test has that name: ``train_`` or ``test_<METHOD>_<PAIR>``, or one of ``ENTRY``.

    Raises:
        UserError: there is none.
    """
    if name in (ENTRY.name, ENTRY.test_name):
        return ENTRY
    phase, _, rest = name.partition('_')
    method, _, pair = rest.partition('_')
    if phase not in ('train', 'test') or not pair:
        raise UserError(f'--name: {name!r} is not train_<METHOD>_<PAIR> or test_<METHOD>_<PAIR>, as '
                        'train_FAKD_EDSR_x2 is')
    return Run(parse_pair(pair), method)


def chosen_runs(methods=tuple(METHODS)):
    """Every chosen pair at every scale by every method."""
    return [Run(Pair(teacher, student, scale), method)
            for teacher, student in PAIRS for scale in SCALES for method in methods]
