"""``mipkd teacher``: fetch published weights, convert those of other code bases, verify them on Set5.

What imports torch is imported by the functions that need it, so that help is shown at once.
"""
from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipkd_arch.base.errors import UserError, command

from ..base.files import check_writable
from ..data.benchmarks import how_to_get
from ..networks.catalog import FOLDER, OFFICIAL, how_to_get_weights, official_weights
from ..networks.omdb import is_omdb
from .arguments import add_command, add_group

if TYPE_CHECKING:
    from torch import nn

    from ..data.paired_dataset import PairedSRDataset

SET5 = 'datasets/benchmark/Set5'


def get(args: argparse.Namespace) -> None:
    """Fetch published weights, or a model of OpenModelDB, and print the path."""
    if is_omdb(args.name):
        from ..networks.omdb import get_model
        file = get_model(args.name, args.out, show=lambda text: print(text, file=sys.stderr))
        print(f'network_t:\n  type: SpandrelNetwork\n  file: {file}')
        return
    from ..networks.zoo import get_weights
    file = Path(args.out, official_weights(args.name).file)
    if not file.exists():
        check_writable(file, '--out')
    print(get_weights(args.name, args.out))


def convert(args: argparse.Namespace) -> None:
    """Write a checkpoint with BasicSR's names and print the lines for the option file."""
    import yaml

    from ..networks.convert import convert_file
    file = Path(args.file)
    out = Path(args.out) if args.out else file.with_name(f'{file.stem}_basicsr.pth')
    check_writable(out, '--out')
    block, assumed = convert_file(file, out, args.res_scale)
    if assumed:
        hint = '; --res-scale sets another res_scale' if 'res_scale' in assumed else ''
        print(f'# not in the weights, assumed as usual: {", ".join(assumed)}{hint}')
    text = yaml.safe_dump({'network_t': block}, sort_keys=False, default_flow_style=None, width=float('inf'))
    print(f'{text}path:\n  pretrain_network_t: {out}')


def measure(network: nn.Module, dataset: PairedSRDataset, y_channel: bool) -> list[float]:
    """Mean PSNR in dB and SSIM of a network over a dataset, on Y or RGB, without a border of ``scale`` pixels."""
    import torch
    from tqdm import tqdm

    from mipkd_arch.staged_views import size_multiple

    from ..evaluation.evaluate import EvaluationSettings, evaluate, mean_scores
    from ..evaluation.metrics import usual_metrics
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    settings = EvaluationSettings(dataset.scale, usual_metrics(dataset.scale, y_channel))
    restore = settings.restorer(network.eval().to(device), size_multiple(network))
    results = evaluate(restore, dataset, settings, device, progress=partial(tqdm, desc='measure', unit='image'))
    return list(mean_scores([result.scores for result in results]).values())


def verify(args: argparse.Namespace) -> None:
    """Measure published weights on Set5 and compare with the published figures."""
    official = official_weights(args.name)
    known = official.set5
    if known is None:
        raise UserError(f'{args.name}: cannot be verified by PSNR, no figure on Set5 is known; its file is checked by: '
                        f'mipkd teacher get {args.name}')
    file = Path(args.weights or Path(FOLDER, official.file))
    if not file.is_file():
        raise UserError(f'{file}: is not there. {how_to_get_weights(file)}')
    gt, lq = (Path(args.data) / part for part in ('HR', f'LR_bicubic/X{official.scale}'))
    for folder in (gt, lq):
        if not folder.is_dir():
            raise UserError(f'--data: {folder} is not there. {how_to_get(folder, official.scale)}')

    from ..data.paired_dataset import PairedSRDataset
    from ..networks.zoo import official_network
    dataset = PairedSRDataset({'type': PairedSRDataset.__name__, 'phase': 'test', 'scale': official.scale,
                               'dataroot_gt': str(gt), 'dataroot_lq': str(lq)})
    psnr, ssim = measure(official_network(official, file), dataset, known.y_channel)
    print(f'{args.name} on {len(dataset)} images of {args.data}, {"Y" if known.y_channel else "RGB"}, border of '
          f'{official.scale} pixels left out')
    print(f'found: {psnr:.4f} dB, SSIM {ssim:.4f}')
    print(f'known: {known.psnr} dB' + (f', SSIM {known.ssim:.4f}' if known.ssim else ''))
    if not abs(psnr - known.psnr) <= known.tolerance:  # NaN is wrong, too
        raise UserError(f'{file}: gives {psnr:.4f} dB, which is more than {known.tolerance} dB from the known '
                        f'{known.psnr} dB; check the images: {command("mipkd", "data", "verify", args.data)}, or '
                        f'fetch the weights again: {command("mipkd", "teacher", "get", args.name)}')


def add(commands: Any) -> None:
    """Add the parsers of ``mipkd teacher``."""
    parts = add_group(commands, 'teacher', 'weights of teachers', 'mipkd teacher get EDSR_Lx4')
    names = ''.join(f'\n  {name:<13} {official.about}' for name, official in OFFICIAL.items())
    part = add_command(parts, 'get', get, 'fetch published weights, verify them and give them BasicSR\'s names', '',
                       epilog=f'names:{names}\n\nomdb:ID fetches a model of OpenModelDB, after its license and SHA-256 '
                              'are shown.\n\nexample: mipkd teacher get EDSR_Lx4',
                       formatter_class=argparse.RawDescriptionHelpFormatter)
    part.add_argument('name', help='which weights, see below')
    part.add_argument('--out', default=FOLDER, metavar='DIR', help=f'folder for the file (default: {FOLDER})')

    part = add_command(
        parts, 'convert', convert, 'give weights of other code bases BasicSR\'s names',
        'mipkd teacher convert edsr_x4.pt', 'Write a checkpoint of an EDSR, RCAN or SwinIR as BasicSR has it, its '
        'sizes read off the weights, and print the lines for the option file.')
    part.add_argument('file', metavar='FILE', help='the checkpoint')
    part.add_argument('--out', metavar='FILE', help='the file to write (default: NAME_basicsr.pth in the same folder)')
    part.add_argument('--res-scale', type=float, metavar='X', help='the network\'s res_scale, which the weights do not '
                      'have (default: 0.1 for EDSR of 256 channels, else 1)')

    part = add_command(parts, 'verify', verify, 'compare published weights with their published figures on Set5',
                       'mipkd teacher verify DAT_light_x4')
    part.add_argument('name', help='which weights, as for get')
    part.add_argument('--weights', metavar='FILE', help=f'their file (default: in {FOLDER})')
    part.add_argument('--data', default=SET5, metavar='DIR', help=f'Set5, with HR and LR_bicubic (default: {SET5})')
