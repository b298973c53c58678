"""Figures that others have printed, with who printed them and whether they belong beside the paper's pairs."""
import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Source:
    """Who gives a figure."""
    text: str
    """What it is, in a few words."""
    other: str = ''
    """What keeps its figures from standing beside those of the paper's pairs; empty where nothing does."""


SOURCES = {
    'mipkd': Source('MiPKD, as reprinted in DCKD (AAAI 2025) Table 2'),
    'fakd_swinir': Source('FAKD on SwinIR, run by DCKD (AAAI 2025) Table 2'),
    'dckd': Source('DCKD (AAAI 2025) Table 2'),
    'mipkd_iclr': Source('MiPKD ICLR 2025, second hand (a published summary)'),
    'augkd': Source('AugKD (ICLR 2025) Tables 2/3/8, second hand (quoted in public reviews)'),
    'derived': Source('derived: MiPKD value minus its stated gain over scratch, +-0.05 dB'),
    'dukd_claim': Source('DUKD, as claimed on Papers with Code'),
    'dukd_readme': Source('DUKD repository README: official RCAN x4 weights converted and tested in BasicSR'),
    'fakd_icip': Source('FAKD (ICIP 2020) Table 3, own schedule (200 epochs)', 'trained by another schedule'),
    'swinir_official': Source('SwinIR (ICCVW 2021) Table 2, DIV2K-trained official models',
                              'other weights than the teachers of the pairs'),
    'csd_ensemble': Source('CSD (IJCAI 2021) Table 1; EDSR+ with 8x self-ensemble, not comparable to plain inference',
                           'other networks, and 8 times self-ensemble'),
}
"""By the key in published.csv. The first one that has a figure for a cell of a table is the one that is shown."""

PAIRS = ('EDSR', 'RCAN', 'SwinIR')
"""The paper's pairs, of which figures are published."""

_ROWS = {
    'MiPKD (ICLR version)': 'MiPKD',
    'Scratch (ICLR version)': 'Scratch',
    'Scratch (AugKD table)': 'Scratch',
    'AugKD (=DUKD)': 'DUKD',
    'FAKD+AugKD': 'FAKD+DUKD',
    'Teacher (converted ckpt, BasicSR test)': 'Teacher',
    'AugKD, EDSR or SwinIR teacher': None,
}
_UNTOLD = 'which teacher, and so which pair, is not told'


@dataclass(frozen=True)
class Fact:
    """One figure of a publication."""
    source: str
    """A key of ``SOURCES``."""
    arch: str
    """The pair, or ``?`` where the publication does not say."""
    scale: int
    method: str
    """As the source calls it."""
    dataset: str
    psnr: float
    """In dB, on Y."""
    ssim: float | None
    """On Y; None where it is not known."""

    @property
    def row(self):
        """The row of a table that the figure belongs to, None where it belongs to none of the paper's pairs."""
        if SOURCES[self.source].other or self.arch not in PAIRS:
            return None
        return _ROWS.get(self.method, self.method)


@cache
def published_facts():
    """All figures, those of the first of ``SOURCES`` first. Returns tuple[Fact]."""
    with (files(__package__) / 'published.csv').open(encoding='utf-8', newline='') as file:
        facts = [Fact(line['source'], line['arch'], int(line['scale']), line['method'], line['dataset'],
                      float(line['psnr']), float(line['ssim']) if line['ssim'] else None)
                 for line in csv.DictReader(file)]
    return tuple(sorted(facts, key=lambda fact: list(SOURCES).index(fact.source)))


@cache
def published_cells():
    """The figures that belong beside measured ones.

    Returns:
        dict[tuple, list[Fact]]: by pair, scale, row and data set; the first of a list is the one to show.
    """
    cells = {}
    for fact in published_facts():
        if fact.row:
            cells.setdefault((fact.arch, fact.scale, fact.row, fact.dataset), []).append(fact)
    return cells


def other_figures(pair):
    """What is published near a pair but does not belong beside it: dict of the reasons by what it is."""
    found = {}
    for fact in published_facts():
        source = SOURCES[fact.source]
        if fact.row is None and fact.arch.rstrip('+') == pair:
            found[source.text if source.other else f'{fact.method}, {source.text}'] = source.other or _UNTOLD
    return found
