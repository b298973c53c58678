"""``mipkd export``: the student as checkpoint, safetensors, ONNX and ncnn, each compared with the network."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from mipkd_arch.base.errors import UserError, one_of

from ..config.cli_arguments import add_plugins_option
from ..deploy import FORMATS, INT8
from .arguments import add_command

if TYPE_CHECKING:
    import numpy as np

    from ..deploy.student import Student

DESCRIPTION = '''\
Write the trained student, its averaged weights where the training had an average, in the formats that programs read:

pth          BasicSR's checkpoint
safetensors  the same weights, with what they are of as metadata
onnx         one input "input", one output "output", RGB float32 in [0, 1], dynamic batch, height and width
onnx-fp16    the same with float16 inside
onnx-int8    the same with convolutions and matrix products in int8, calibrated on the photographs of --calibrate
ncnn         .param and .bin with blobs "data" and "output", as Upscayl and chaiNNer read them; made by pnnx

Each file that runs is compared with the network at two sizes other than that of the export: levels is the largest
difference in levels of 255, dB the PSNR between the two. No teacher, mixer or loss is in any file.'''


def add(commands: Any) -> None:
    """Add the parser of ``mipkd export``."""
    parser = add_command(commands, 'export', run, 'the student as safetensors, ONNX, ncnn',
                         'mipkd export experiments/train_MiPKD_x4 --format onnx ncnn', DESCRIPTION,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    add_export_options(parser)
    parser.add_argument('--out', metavar='DIR', help='folder for the files (default: export in the folder of the run)')
    parser.add_argument('--image', metavar='FILE', help='photograph to compare on (default: a built-in test pattern)')


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is exported."""
    parser.add_argument('run_or_checkpoint', metavar='RUN|CHECKPOINT', help='experiments/<name>, or a checkpoint')
    parser.add_argument('--format', nargs='+', metavar='FORMAT',
                        help=f'any of {", ".join((*FORMATS, INT8))} (default: all but {INT8})')
    parser.add_argument('--calibrate', metavar='FOLDER', help='photographs for int8; LR images are made of them, and '
                        'every fourth is kept apart to measure on')
    parser.add_argument('--name', help='name of the files without ending (default: that of the run)')
    parser.add_argument('--license', metavar='SPDX', help='license of the student, such as MIT or CC-BY-4.0')
    add_plugins_option(parser)


def run(args: argparse.Namespace) -> None:
    """Write the files and print how far each is from the network."""
    formats = formats_of(args)
    from ..config import plugins
    from ..data.images import read_image
    from ..deploy.student import load_student
    plugins.use(args.plugins)
    student = load_student(args.run_or_checkpoint, args.name)
    root = student.file.parents[1] if student.file.parent.name == 'models' else student.file.parent
    image = read_image(args.image) if args.image else test_pattern()
    failures = export(student, Path(args.out) if args.out else root / 'export', formats, image, args)
    if failures:
        raise UserError('; '.join(failures))


def formats_of(args: argparse.Namespace) -> list[str]:
    """The formats that are asked for, each once.

    Raises:
        UserError: one is not known, or int8 and photographs do not come together.
    """
    formats = list(dict.fromkeys(args.format or [*FORMATS, *([INT8] if args.calibrate else [])]))
    for name in formats:
        one_of('--format', name, (*FORMATS, INT8))
    if (INT8 in formats) != bool(args.calibrate):
        raise UserError(f'--calibrate: --format {INT8} and a folder of photographs for it are given together')
    return formats


def export(student: Student, folder: Path, formats: list[str], image: np.ndarray, args: argparse.Namespace,
           shown: Path | None = None) -> list[str]:
    """Write a student's files and print what was found; ``shown`` is printed in place of ``folder``.

    Returns:
        A line for each format that cannot be had.
    """
    from tqdm import tqdm

    from ..data.images import image_shape
    from ..deploy.export import Export
    from ..deploy.upscale import find_inputs
    photographs = find_inputs([args.calibrate]) if args.calibrate else []
    for file in photographs:
        image_shape(file)  # refuses what cannot be read, before anything is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out: {folder} cannot be made ({error.strerror})') from None
    rows, notes, failures = [], [], []
    made = Export(student, folder, image, args.license, photographs).run(formats)
    for done in tqdm(made, 'export', len(formats), unit='format', disable=None):
        for file in done.files:
            tqdm.write(str((shown or folder) / file.name))
        if done.failure:
            failures.append(f'{done.format}: {done.failure}')
        elif done.levels is not None:
            rows.append([done.format, f'{done.levels:.3f}', f'{done.psnr:.1f}'])
        notes += [done.note] if done.note else []
    if rows:
        print('\n' + tabulate(rows, ['format', 'levels', 'dB'], disable_numparse=True,
                              colalign=('left', 'right', 'right')))
    print(*notes, sep='\n', end='\n' if notes else '')
    return failures


def test_pattern() -> np.ndarray:
    """Noise, edges and gradients: uint8 RGB (160, 160, 3), the same at each call."""
    import numpy as np
    side = 160
    rows, columns = np.mgrid[:side, :side]
    image = np.random.default_rng(0).normal(0, 12, (side, side, 3))
    image += np.stack([rows, columns, rows + columns], -1) * 0.7
    image[(rows // 16 + columns // 16) % 5 == 0] += 80
    return image.clip(0, 255).astype(np.uint8)
