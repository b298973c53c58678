"""Figures that others have printed, with who printed them and whether they are comparable with the paper's pairs."""
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


def _read(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((files(__package__) / name).read_text(encoding='utf-8').splitlines()))


SOURCES = {row['source']: Source(row['text'], row['why_excluded']) for row in _read('sources.csv')}
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
    results = [PublishedResult(row['source'], row['arch'], int(row['scale']), row['method'], row['dataset'],
                               float(row['psnr']), float(row['ssim']) if row['ssim'] else None)
               for row in _read('published.csv')]
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
