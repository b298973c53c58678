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


OTHER_SCHEDULE = 'trained by another schedule'

SOURCES = {
    'mipkd': Source('MiPKD, as reprinted in DCKD (AAAI 2025) Table 2'),
    'mipkd_arxiv': Source('MiPKD, arXiv version, as reprinted in DCKD (AAAI 2025) Table 2'),
    'fakd_swinir': Source('FAKD on SwinIR, run by DCKD (AAAI 2025) Table 2'),
    'dckd': Source('DCKD (AAAI 2025) Table 2'),
    'mipkd_iclr': Source('MiPKD ICLR 2025, second hand (a published summary)'),
    'augkd': Source('AugKD (ICLR 2025) Tables 2/3/8, second hand (quoted in public reviews)'),
    'augkd_scratch': Source('AugKD (ICLR 2025), second hand (reviews, summary); Table 2 (replaces the derived cell)'),
    'augkd_table2': Source('AugKD (ICLR 2025), second hand (reviews, summary); Table 2'),
    'augkd_rerun': Source("AugKD (ICLR 2025), second hand (reviews, summary); Table 2, rerun by AugKD's authors"),
    'derived': Source('derived: MiPKD value minus its stated gain over scratch, +-0.05 dB'),
    'derived_augkd': Source('derived, +-0.01: AugKD 32.53 minus the largest stated EDSR gain over logits-KD, 0.55'),
    'dukd_claim': Source('DUKD, as claimed on Papers with Code'),
    'dukd_readme': Source('DUKD repository README: official RCAN x4 weights converted and tested in BasicSR'),
    'fakd_icip': Source('FAKD (ICIP 2020) Table 3, own schedule (200 epochs)', OTHER_SCHEDULE),
    'swinir_official': Source('SwinIR (ICCVW 2021) Table 2, DIV2K-trained official models',
                              'other weights than the teachers of the pairs'),
    'csd_ensemble': Source('CSD (IJCAI 2021) Table 1; EDSR+ with 8x self-ensemble, not comparable to plain inference',
                           'other networks, and 8 times self-ensemble'),
    'augkd_table9': Source('AugKD (ICLR 2025), second hand (reviews, summary); Table 9',
                           'other training images or another start'),
    'mcad_scratch': Source('MCAD-KD (ICCVW 2025), text quoted second hand; scratch row; own schedule (500k, batch 32 '
                           'in code)', OTHER_SCHEDULE),
    'mcad_x2': Source("MCAD-KD (ICCVW 2025), text quoted second hand; text labels it x4, the value is x2's; released "
                      'x2 option validates with self-ensemble', OTHER_SCHEDULE),
    'mcad': Source('MCAD-KD (ICCVW 2025), text quoted second hand; own schedule', OTHER_SCHEDULE),
    'mcad_rcan_x2': Source('derived: scratch 32.63 + stated gain 0.24 (MCAD-KD text, second hand)', OTHER_SCHEDULE),
    'mcad_rcan_x3': Source('derived: scratch 28.59 + stated gain 0.20 (MCAD-KD text, second hand)', OTHER_SCHEDULE),
    'mcad_swinir_x2': Source('derived: scratch 32.05 + stated gain of about 0.60 (MCAD-KD text, second hand)',
                             OTHER_SCHEDULE),
    'dckd_ablation': Source('DCKD (AAAI 2025), ablation on RCAN x2', 'parts of a method'),
    'dckd_table8': Source('DCKD (AAAI 2025), Table 8', 'other networks'),
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
