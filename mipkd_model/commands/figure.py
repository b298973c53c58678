"""``mipkd figure``: crops, training curves, difference maps and a page to look at, made of records."""
import argparse
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, one_of

from .arguments import add_command, add_group

# The modules of ..reports.figures come with matplotlib, which takes half a second to import: only what draws imports
# them.

RECORD = 'results/<name>, or a file of its records/; the images must have been saved: val.save_img: true'
EXAMPLE = ('mipkd figure crops results/test_Scratch_EDSR_x4 results/test_MiPKD_EDSR_x4 --dataset Set14 '
           '--image barbara --out crops.pdf')


def crops(args: argparse.Namespace) -> None:
    """Draw enlarged crops."""
    from ..reports.figures.crops import draw_crops
    from ..reports.figures.pictures import choose_box, parse_numbers, read_pictures, records_of
    from ..reports.figures.style import checked_out, save_figure
    out = checked_out(args.out)
    pictures = read_pictures(records_of(args.records, args.dataset), args.image)
    box = choose_box(pictures, parse_numbers(args.box, '--box', 'X,Y,W,H') if args.box else None,
                     parse_numbers(args.box_size, '--box-size', 'W,H') if args.box_size else None)
    save_figure(draw_crops(pictures, box, args.columns), out)
    print(f'{out}: --box {",".join(map(str, box))}')


def curves(args: argparse.Namespace) -> None:
    """Draw curves of training."""
    from ..reports.figures.curves import draw_curves
    from ..reports.figures.style import checked_out, save_figure
    from ..reports.figures.training_runs import group_runs, read_gradients, read_losses, read_runs
    out = checked_out(args.out)
    lines = group_runs(read_runs(args.experiments, args.dataset))
    losses = read_losses(lines, args.loss) if args.loss else None
    gradients = {line.label: read_gradients(line.runs[0].folder) for line in lines} if args.gradients else None
    print(save_figure(draw_curves(lines, args.metric, losses, gradients), out))


def maps(args: argparse.Namespace) -> None:
    """Draw maps of differences."""
    from ..reports.figures.maps import PNG_DPI, draw_maps
    from ..reports.figures.pictures import choose_box, parse_numbers, read_pictures, records_of
    from ..reports.figures.style import checked_out, save_figure
    out = checked_out(args.out)
    teachers = records_of([args.teacher], args.dataset)
    if len(teachers) > 1:
        raise UserError(f'TEACHER_RECORD: {args.teacher} has {len(teachers)} records of {args.dataset}, of '
                        f'{", ".join(record.name for record in teachers)}; name one of them')
    records = records_of([args.teacher, *args.students], args.dataset)
    if len(records) < 2:
        raise UserError(f'STUDENT_RECORD: names the record of the teacher, {args.teacher}; name at least one other')
    pictures = read_pictures(records, args.image)
    box = choose_box(pictures, parse_numbers(args.box, '--box', 'X,Y,W,H') if args.box else None)
    print(save_figure(draw_maps(pictures, box), out, PNG_DPI))


def page(args: argparse.Namespace) -> None:
    """Write a page to look at."""
    from tqdm import tqdm

    from ..base.files import atomic_write, check_writable
    from ..reports.figures.page import make_page
    from ..reports.figures.pictures import records_of
    one_of('--out: the end of the name', Path(args.out).suffix, ['.html'])
    check_writable(args.out, '--out')
    made = make_page(records_of(args.records, args.dataset), args.images,
                     lambda names: tqdm(names, desc='images', unit='image', disable=None))
    with atomic_write(args.out) as temporary:
        temporary.write_text(made.html, encoding='utf-8')
    print(f'{args.out}: {made.summary}; {Path(args.out).stat().st_size / 1e6:.1f} MB')


def add(commands: Any) -> None:
    """Add the parsers of ``mipkd figure``."""
    parts = add_group(commands, 'figure', 'figures for a paper, from records of evaluations', EXAMPLE)
    part = add_command(
        parts, 'crops', crops, 'enlarged crops of HR, bicubic and each method', EXAMPLE,
        'Draw the HR image with a box, and what is in the box: of HR, bicubic and each method, enlarged without '
        'smoothing. PSNR in dB and SSIM are those of the whole image; among the students of one pair, those with '
        'self-ensemble apart, the best is bold and the second underlined.')
    part.add_argument('records', nargs='+', metavar='RECORD', help=f'{RECORD}; shown in this order')
    _add_image(part)
    box = part.add_mutually_exclusive_group()
    box.add_argument('--box', metavar='X,Y,W,H', help='left, top, width, height (default: where methods differ most)')
    box.add_argument('--box-size', metavar='W,H', help='size of the box (default: a fifth of the shorter side)')
    part.add_argument('--columns', type=int, metavar='N', help='crops in a row (default: two rows; 3 or 5 in one)')

    part = add_command(
        parts, 'curves', curves, 'validation and losses of runs over their iterations',
        'mipkd figure curves experiments/train_Scratch_EDSR_x4 experiments/train_MiPKD_EDSR_x4 --loss l_pix --out '
        'curves.pdf', 'Draw the validation during training, a line for each run. Runs of one pair and method with '
        'different random seeds are one line, their mean, within their minimum and maximum.')
    part.add_argument('experiments', nargs='+', metavar='EXPERIMENT', help='experiments/<name>')
    part.add_argument('--metric', metavar='NAME', help='name of the metric in val.metrics (default: the PSNR)')
    part.add_argument('--dataset', metavar='NAME', help='dataset of the validation (default: the only one)')
    part.add_argument('--loss', nargs='+', metavar='NAME', help='losses for a second panel, such as l_pix: as logged, '
                      'faintly, and their running mean over 1/20 of the points')
    part.add_argument('--gradients', action='store_true', help='add the norm of the gradient of each loss, and its '
                      'cosine with that of the pixel loss; needs a training with logger.gradients')
    _add_out(part)

    part = add_command(
        parts, 'maps', maps, 'where students differ from their teacher',
        'mipkd figure maps results/test_Teacher_EDSR_x4 results/test_MiPKD_EDSR_x4 --dataset Set14 --image barbara '
        '--out maps.pdf',
        'Draw, on Y and in gray levels of 255: |teacher - HR|, and for each student |student - teacher| and '
        '|teacher - HR| - |student - HR|, which is blue where the student is nearer to HR and red where the teacher '
        'is. Below each is its mean over the whole image.')
    part.add_argument('teacher', metavar='TEACHER_RECORD', help=RECORD)
    part.add_argument('students', nargs='+', metavar='STUDENT_RECORD', help='the same, a row each')
    _add_image(part)
    part.add_argument('--box', metavar='X,Y,W,H', help='box in all images (default: that of mipkd figure crops)')


    part = add_command(
        parts, 'page', page, 'one HTML file to compare images in, with the table and the curves',
        'mipkd figure page results/test_Scratch_EDSR_x4 results/test_MiPKD_EDSR_x4 --dataset Set5 --out page.html',
        'Write an HTML file that needs nothing else: a divider is dragged between any two of bicubic, the networks and '
        'HR, a box is enlarged of all, and there are PSNR and SSIM of each image, and the curves of the trainings that '
        'the weights are from, if they are in experiments. Of a large image the part is shown in which the networks '
        'differ most.')
    part.add_argument('records', nargs='+', metavar='RUN', help=f'{RECORD}; shown in this order')
    part.add_argument('--dataset', metavar='NAME', help='dataset of the images (default: the only one)')
    part.add_argument('--images', nargs='+', metavar='NAME',
                      help='names of the HR images to show, without their suffix (default: the first 8)')
    _add_out(part, '.html')


def _add_image(part: argparse.ArgumentParser) -> None:
    part.add_argument('--dataset', required=True, metavar='NAME', help='dataset of the image, such as Set14')
    part.add_argument('--image', required=True, metavar='NAME', help='name of the HR image, without its suffix')
    _add_out(part)


def _add_out(part: argparse.ArgumentParser, kinds: str = '.pdf, .png, .svg or .jpg') -> None:
    part.add_argument('--out', required=True, metavar='FILE', help=f'file to write: {kinds}')
