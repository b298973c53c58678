"""``mipkd card``: a folder with the student's files and what is known of it, to be pushed or attached to a release."""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipkd_arch.base.errors import UserError, one_line

from .arguments import add_command
from .export import add_export_options, export, formats_of, test_pattern

if TYPE_CHECKING:
    import numpy as np

    from ..deploy.facts import Row
    from ..deploy.student import Student

RESULTS = 'results'
DESCRIPTION = '''\
Write a folder that can be pushed to the Hugging Face hub or attached to a release as it is: README.md, a model card
with its YAML head, the student's files as of mipkd export, openmodeldb.json with the fields of an OpenModelDB entry,
SHA256SUMS, a picture, and space/, a Gradio app that serves the student as a Hugging Face Space.

Figures are those of records (mipkd test) of exactly these weights, and of the teacher's. What is not known, such as
author and license, is left out.'''


def add(commands: Any) -> None:
    """Add the parser of ``mipkd card``."""
    parser = add_command(commands, 'card', run, 'a model card and the files for a release',
                         'mipkd card experiments/train_MiPKD_x4 --out card --license MIT', DESCRIPTION,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    add_export_options(parser)
    parser.add_argument('--out', required=True, metavar='DIR', help='folder that is new or empty')
    parser.add_argument('--records', nargs='+', metavar='PATH', help='records of evaluations, files or folders '
                        f'(default: those of the run and of {RESULTS})')
    parser.add_argument('--image', metavar='FILE', help='HR photograph for the picture; the LR image is made of it '
                        '(default: the first image of the first recorded dataset)')
    parser.add_argument('--author', metavar='NAME', help='who made the student')
    parser.add_argument('--data', nargs='+', metavar='NAME',
                        help='training data (default: datasets.train.name of the option file)')
    parser.add_argument('--tags', nargs='+', default=[], metavar='TAG', help='more tags')
    parser.add_argument('--no-time', action='store_true', help='measure no latency')


def run(args: argparse.Namespace) -> None:
    """Write the folder."""
    formats, out = formats_of(args), Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'--out: {out} is there and not an empty folder; name another one')
    from ..config import plugins
    from ..data.images import read_image
    from ..deploy.card import Card, write_card
    from ..deploy.card_text import text_of
    from ..deploy.comparison import write_comparison
    from ..deploy.facts import costs_of, training_data
    from ..deploy.runtimes import open_torch, opens_in_spandrel
    from ..deploy.student import load_student
    plugins.use(args.plugins)
    student = load_student(args.run_or_checkpoint, args.name)
    rows = _rows(args, student)
    pair = _pair(args, student, rows)
    image = read_image(args.image) if args.image else pair[0] if pair else test_pattern()
    data = args.data or [name for name in [training_data(student).get('name')] if name]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f'{out.name}.', suffix='.part', dir=out.parent)
    except OSError as error:
        raise UserError(f'--out: {out} cannot be made ({error.strerror})') from None
    with folder as made:
        place = Path(made, 'card')
        missing = export(student, place, formats, image, args, shown=out)
        files = sorted(file for file in place.iterdir() if file.is_file())
        if pair:
            write_comparison(open_torch(student.file), pair, place / 'comparison.png')
        costs, how = costs_of(student, timed=not args.no_time)
        weights = next((file for file in files if file.suffix in ('.safetensors', '.pth')), None)
        card = Card(student, files, rows, costs, how, args.license, args.author, data, args.tags, missing, bool(pair),
                    weights is not None and opens_in_spandrel(weights))
        write_card(card, place, text_of(card))
        place.replace(out)
    left_out = {'--license': args.license, '--author': args.author, '--data': data, '--records': rows,
                '--image': pair}
    print(*missing, *(f'left out, for nothing is known of it: {option}' for option, value in left_out.items()
                      if not value), out / 'README.md', sep='\n')


def _rows(args: argparse.Namespace, student: Student) -> list[Row]:
    from ..deploy.facts import results_of
    from ..evaluation.records import record_files
    if args.records:
        return results_of(student, [Path(path) for path in args.records])
    inside = student.file.parents[1] if student.file.parent.name == 'models' else student.file.parent / 'records'
    places = [place for place in (inside, Path(RESULTS)) if place.is_dir() and record_files(place)]
    return results_of(student, places)


def _pair(args: argparse.Namespace, student: Student, rows: list[Row]) -> tuple[np.ndarray, np.ndarray] | None:
    """The pair of gt and LR image for the picture; None where there is none."""
    from ..data.images import DataError
    from ..deploy.comparison import pair_of_file
    from ..reports.figures.pictures import read_pair
    if args.image:
        return pair_of_file(Path(args.image), student.scale)
    for row in rows:
        try:
            return read_pair(row.record, next(iter(row.record.images)))
        except DataError as error:
            print(f'no picture of {row.dataset}: {one_line(error)}')
    return None
