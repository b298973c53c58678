"""``gradients.csv`` of a run: how large each loss's gradient is, and where it points, every so many iterations."""
import csv
import math
from collections.abc import Mapping
from pathlib import Path

from basicsr.utils import get_root_logger

from ..base.files import atomic_write
from .loss_gradients import REFERENCE, LossGradient

NAME = 'gradients.csv'
COLUMNS = ('iteration', 'loss', 'norm', 'cosine')


def write_gradients(folder: str | Path, iteration: int, found: Mapping[str, LossGradient]) -> None:
    """Add an iteration to the file and to the log; a resumed run replaces what comes after its start.

    Args:
        folder: of the run, as ``experiments/<name>``.
        iteration: of the training.
        found: by the name of the loss.

    Raises:
        UserError: the file cannot be written.
    """
    file = Path(folder, NAME)
    before = [row for row in read_gradients(folder) if row[0] < iteration]
    rows = before + [(iteration, name, gradient.norm, gradient.cosine) for name, gradient in found.items()]
    with atomic_write(file) as temporary, temporary.open('w', newline='', encoding='utf-8') as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows((number, name, f'{norm:.6g}', f'{cosine:.4f}') for number, name, norm, cosine in rows)
    parts = [f'{name} {gradient.norm:.2e}' + ('' if name == REFERENCE or math.isnan(gradient.cosine)
                                              else f', cosine {gradient.cosine:+.2f}')
             for name, gradient in found.items()]
    get_root_logger().info(f'Gradients at the student, iter {iteration:,}: {"; ".join(parts)}')


def read_gradients(folder: str | Path) -> list[tuple[int, str, float, float]]:
    """Rows of a run's file: iteration, name of the loss, norm, cosine; none where there is no file."""
    file = Path(folder, NAME)
    if not file.is_file():
        return []
    with file.open(newline='', encoding='utf-8') as stream:
        return [(int(row['iteration']), row['loss'], float(row['norm']), float(row['cosine']))
                for row in csv.DictReader(stream)]
