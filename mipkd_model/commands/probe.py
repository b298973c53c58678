"""``mipkd probe``: which features of a teacher and a student are alike, and so where to cut them."""
from __future__ import annotations

import argparse
from itertools import islice
from typing import Any

import yaml
from tabulate import tabulate

from mipkd_arch.base.errors import UserError, number_in

from ..base.files import check_writable, write_json
from ..config.cli_arguments import add_plugins_option
from .arguments import add_command

# What runs networks imports torch, and what draws matplotlib: only the functions that need them do so.

DESCRIPTION = '''\
Run batches of the training images through teacher and student of an option file, and compare their features after the
head and after each block:

CKA          linear CKA: 1 where features are the same up to a rotation and a factor, 0 where they are unrelated
explained    fraction of the variance of the teacher's features that a 1x1 convolution of the student's explains

Then recommend train.cuts_g and train.cuts_t: the network of fewer blocks is cut evenly, the other one where its
features are most like those. A student without weights (path.pretrain_network_g) says little: give one that was
trained without a teacher.'''


def add(commands: Any) -> None:
    """Add the parser of ``mipkd probe``."""
    parser = add_command(commands, 'probe', run, 'which features of teacher and student to pair',
                         'mipkd probe options/train_MiPKD_x4.yml --out probe.png', DESCRIPTION,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', metavar='FILE', help='option file of a training')
    parser.add_argument('--force_yml', nargs='+', action='extend', default=[], metavar='PATH=VALUE',
                        help='change options first, as for mipkd train')
    parser.add_argument('--batches', type=int, default=8, metavar='N', help='batches to run (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=4, metavar='N', help='crops in a batch (default: %(default)s)')
    parser.add_argument('--pixels', type=int, default=512, metavar='N',
                        help='pixels that are drawn of each batch (default: %(default)s)')
    parser.add_argument('--stages', type=int, default=3, metavar='N', help='stages to cut into (default: %(default)s)')
    parser.add_argument('--out', metavar='FILE', help='draw all pairs as a heat map: .pdf, .png, .svg or .jpg')
    parser.add_argument('--json', metavar='FILE', help='write all pairs as JSON')
    add_plugins_option(parser)


def run(args: argparse.Namespace) -> None:
    """Print the positions that are most alike, and the cuts."""
    for name, least in (('batches', 1), ('batch', 1), ('pixels', 8), ('stages', 1)):
        number_in(f'--{name}', getattr(args, name), least, integer=True)
    if args.json:
        check_writable(args.json, '--json')
    if args.out:
        from ..reports.figures.style import checked_out
        checked_out(args.out)
    opt = _options(args)

    from tqdm import tqdm

    from basicsr.data import build_dataset

    from ..reports.probing.probe import batches_of, load_views, most_alike, probe
    student, teacher, has_weights = load_views(opt)
    batches = batches_of(build_dataset(opt['datasets']['train']), args.batches, args.batch)
    result = probe(student, teacher, tqdm(islice(batches, args.batches), 'probe', args.batches, unit='batch'),
                   args.pixels, args.stages)
    if not has_weights:
        print('The student has random weights: path.pretrain_network_g names none.\n')
    print(tabulate(most_alike(result), ["student's", "most like the teacher's", 'CKA', 'explained'], floatfmt='.3f'))
    cuts = {'train': {'cuts_g': result.cuts_g, 'cuts_t': result.cuts_t}}
    print(f'\n{yaml.safe_dump(cuts, sort_keys=False, default_flow_style=None, width=1000)}', end='')
    if args.out:
        from ..reports.figures.similarity import draw_similarity
        from ..reports.figures.style import checked_out, save_figure
        print(save_figure(draw_similarity(result), checked_out(args.out)))
    if args.json:
        print(write_json({'names_g': result.names_g, 'names_t': result.names_t, 'cka': result.cka.tolist(),
                          'explained': result.explained.tolist(), **cuts['train']}, args.json))


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of a training whose options and files are right; networks are checked when they are built."""
    from ..config import checks, plugins
    from ..config.command_line import complete
    from ..config.reader import override
    opt = checks.read_options(args.file)
    override(opt, args.force_yml)
    override(opt, plugins.entries(opt, args.plugins))
    if not checks.is_training(opt):
        raise UserError(f'{args.file}: is not the option file of a training')
    checks.find_in_options(opt, True).stop()
    opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=True, num_gpu=0)
    complete(opt, '.', True)
    checks.check_files(opt)
    return opt
