"""``mipkd upscale``: images through a student, from any of its formats."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, number_in, one_of

from ..config.cli_arguments import add_plugins_option
from ..deploy import OVERLAP, TILE
from .arguments import add_command
from .profile import parse_device

ENDINGS = ('png', 'jpg', 'webp', 'tif')
DESCRIPTION = '''\
Upscale images by a student, from the folder of its run, a checkpoint (.pth, .safetensors), an ONNX file or ncnn files.
Gray stays gray, 16 bits stay 16 bits, and transparency, color profile and EXIF data are kept. A file that cannot be
read is reported and does not stop the others; the exit status is then 1.'''


def add(commands: Any) -> None:
    """Add the parser of ``mipkd upscale``."""
    parser = add_command(commands, 'upscale', run, 'upscale images by a student',
                         'mipkd upscale photos --model experiments/train_MiPKD_x4 --out upscaled', DESCRIPTION)
    parser.add_argument('inputs', nargs='+', metavar='IN', help='image files, folders, or patterns in quotes')
    parser.add_argument('--model', required=True, metavar='FILE|RUN',
                        help='experiments/<name>, or a file: .pth, .safetensors, .onnx, .param')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the results')
    parser.add_argument('--suffix', default='', metavar='TEXT', help='what is added to names, such as _x4')
    parser.add_argument('--format', metavar='KIND', help=f'{", ".join(ENDINGS)} (default: that of each input)')
    parser.add_argument('--tile', type=int, default=TILE, metavar='N',
                        help='side, in pixels of the input, of the parts that larger images are run in; 0: the whole '
                             'image at once (default: %(default)s)')
    parser.add_argument('--overlap', type=int, default=OVERLAP, metavar='N',
                        help='pixels that parts see beyond their edges (default: %(default)s)')
    parser.add_argument('--device', help='cpu, cuda, or cuda:1 for the second GPU (default: cuda where there is one)')
    parser.add_argument('--overwrite', action='store_true', help='replace results that exist')
    add_plugins_option(parser)


def run(args: argparse.Namespace) -> None:
    """Upscale every input.

    Raises:
        UserError: at the end, if one failed.
    """
    if args.format is not None:
        one_of('--format', args.format, ENDINGS)
    number_in('--tile', args.tile, 0, integer=True)
    number_in('--overlap', args.overlap, 0, integer=True)

    from tqdm import tqdm

    from mipkd_arch.base.cli import failure_line

    from ..config import plugins
    from ..deploy.pictures import read_picture, write_picture
    from ..deploy.runtimes import open_model
    from ..deploy.upscale import find_inputs, name_outputs, upscale
    outputs = name_outputs(find_inputs(args.inputs), Path(args.out), args.suffix, args.format)
    taken = [str(output) for output in outputs.values() if output.exists()]
    if taken and not args.overwrite:
        raise UserError(f'--out: {len(taken)} results exist, such as {taken[0]}; name another folder, or add '
                        '--overwrite')
    plugins.use(args.plugins)
    model = open_model(args.model, str(parse_device(args.device)))
    failed = 0
    for file, output in tqdm(outputs.items(), 'upscale', unit='image', disable=None):
        try:
            write_picture(upscale(read_picture(file), model, args.tile, args.overlap), output)
        except Exception as error:
            line = failure_line(error)
            if line is None:
                raise
            failed += 1
            named = line if str(file) in line or str(output) in line else f'{file}: {line}'
            tqdm.write(f'error: {named}', file=sys.stderr)
        else:
            tqdm.write(str(output))
    if failed:
        raise UserError(f'{failed} of {len(outputs)} images failed')
