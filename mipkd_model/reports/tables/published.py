"""Figures that others have printed, with who printed them and whether they are comparable with the paper's pairs."""
import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple


def _read(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((files(__package__) / name).read_text(encoding='utf-8').splitlines()))


SOURCES = {row['source']: row['text'] for row in _read('sources.csv')}
"""Who gives a figure, by the key in published.csv. The first one that has a figure for a cell is the one shown."""
EXCLUDED = {row['source'] for row in _read('sources.csv') if row['why_excluded']}
"""Sources whose figures are not comparable with those of the paper's pairs; sources.csv says why."""
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


class PublishedResult(NamedTuple):
    """One figure of a publication: PSNR in dB and SSIM, None where it is not known, on Y."""
    source: str
    arch: str  # the pair, or ``?`` where the publication does not name it
    scale: int
    method: str  # as the source calls it
    dataset: str
    psnr: float
    ssim: float | None

    @property
    def row(self) -> str | None:
        """The row of a table that the figure belongs to, None where it belongs to none of the paper's pairs."""
        if self.source in EXCLUDED or self.arch not in PAIRS:
            return None
        return ROWS.get(self.method, self.method)


@cache
def published_results() -> tuple[PublishedResult, ...]:
    """All figures, those of the first of ``SOURCES`` first."""
    order = list(SOURCES)
    rows = sorted(_read('published.csv'), key=lambda row: order.index(row['source']))
    return tuple(PublishedResult(row['source'], row['arch'], int(row['scale']), row['method'], row['dataset'],
                                 float(row['psnr']), float(row['ssim']) if row['ssim'] else None) for row in rows)


@cache
def published_cells() -> dict[tuple[str, int, str, str], PublishedResult]:
    """The figures that are comparable with measured ones, by pair, scale, row and dataset."""
    cells: dict[tuple[str, int, str, str], PublishedResult] = {}
    for result in published_results():
        if result.row:
            cells.setdefault((result.arch, result.scale, result.row, result.dataset), result)
    return cells
