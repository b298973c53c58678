"""Figures that others have printed, with who printed them and whether they are comparable with the paper's pairs."""
from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Source:
    """Who gives a figure."""
    text: str
    """What it is, in a few words."""
    why_excluded: str = ''
    """Why its figures are not comparable with those of the paper's pairs; empty where they are."""


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
ROWS = {
    'MiPKD (ICLR version)': 'MiPKD',
    'Scratch (ICLR version)': 'Scratch',
    'Scratch (AugKD table)': 'Scratch',
    'AugKD (=DUKD)': 'DUKD',
    'FAKD+AugKD': 'FAKD+DUKD',
    'Teacher (converted ckpt, BasicSR test)': 'Teacher',
    'AugKD, EDSR or SwinIR teacher': None,
}
"""Rows of tables by what sources call a method, where that differs; None: its pair is not known."""


@dataclass(frozen=True)
class PublishedResult:
    """One figure of a publication."""
    source: str
    """A key of ``SOURCES``."""
    arch: str
    """The pair, or ``?`` where the publication does not name it."""
    scale: int
    method: str
    """As the source calls it."""
    dataset: str
    psnr: float
    """In dB, on Y."""
    ssim: float | None
    """On Y; None where it is not known."""

    @property
    def row(self) -> str | None:
        """The row of a table that the figure belongs to, None where it belongs to none of the paper's pairs."""
        if SOURCES[self.source].why_excluded or self.arch not in PAIRS:
            return None
        return ROWS.get(self.method, self.method)


@cache
def published_results() -> tuple[PublishedResult, ...]:
    """All figures, those of the first of ``SOURCES`` first."""
    with (files(__package__) / 'published.csv').open(encoding='utf-8', newline='') as file:
        results = [PublishedResult(line['source'], line['arch'], int(line['scale']), line['method'], line['dataset'],
                                   float(line['psnr']), float(line['ssim']) if line['ssim'] else None)
                   for line in csv.DictReader(file)]
    order = list(SOURCES)
    return tuple(sorted(results, key=lambda result: order.index(result.source)))


@cache
def published_cells() -> dict[tuple[str, int, str, str], PublishedResult]:
    """The figures that are comparable with measured ones, by pair, scale, row and dataset."""
    cells: dict[tuple[str, int, str, str], PublishedResult] = {}
    for result in published_results():
        if result.row:
            cells.setdefault((result.arch, result.scale, result.row, result.dataset), result)
    return cells
