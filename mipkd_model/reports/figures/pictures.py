"""What the figures share: which records they show, the images behind them, their look, and how they are saved."""
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator

from mipkd_arch.base.errors import UserError, near_miss, one_of

from ...base.files import atomic_write, check_writable
from ...data.bicubic import imresize
from ...data.images import read_image
from ...data.stores import open_store
from ...evaluation.records import Record, find_records
from ..tables.cells import row_of

# Without a creation date the same records give the same bytes.
SUFFIXES = {'.pdf': {'CreationDate': None}, '.png': {}, '.svg': {'Date': None}, '.jpg': None}
"""Kinds of file by suffix, with what goes into their metadata."""
COMPRESSION = {'.png': {'compress_level': 9}, '.jpg': {'quality': 88, 'subsampling': 0, 'optimize': True}}
"""What Pillow is told of files of pixels: nothing is lost in PNG, nothing that is seen in JPEG, colours included."""
STYLE = {'font.size': 7, 'axes.titlesize': 7, 'axes.labelsize': 7, 'legend.fontsize': 6.5, 'xtick.labelsize': 6.5,
         'ytick.labelsize': 6.5, 'axes.linewidth': 0.5, 'xtick.major.width': 0.5, 'ytick.major.width': 0.5,
         'pdf.fonttype': 42,  # text stays text, in TrueType, which publishers ask for
         'svg.hashsalt': 'mipkd', 'text.parse_math': False}  # a $ in a name is a $
WIDTH = 7.0
"""Inches, the width of the text in a paper of two columns."""


DASHES = ('-', '--', ':', '-.', (0, (3, 1, 1, 1, 1, 1)))


def dashes_of(losses):
    """The look of the lines of losses, by their names, which may repeat."""
    return {loss: DASHES[index % len(DASHES)] for index, loss in enumerate(dict.fromkeys(losses))}


def explain_dashes(axes, dashes):
    """Add the legend of what ``dashes_of`` gave."""
    handles = [Line2D([], [], color='0.3', linewidth=1, linestyle=look) for look in dashes.values()]
    axes.legend(handles, list(dashes), frameon=False)


def log_scale(axes):
    """Logarithmic y with plain numbers; over less than two decades 2 and 5 are marked, too."""
    axes.set_yscale('log')
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('')


@contextmanager
def style():
    """The look of all figures, while they are drawn and while they are saved."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a matplotlibrc says, the figure is the same
        matplotlib.rcParams.update(STYLE)
        yield


def checked_out(out):
    """The path of the figure to write.

    Raises:
        UserError: its suffix is not that of a kind that is written, or it cannot be written there.
    """
    suffix = Path(out).suffix
    if suffix not in SUFFIXES:
        raise UserError(f'--out: {out} ends in {suffix!r}{near_miss(suffix, SUFFIXES)}; allowed are '
                        f'{", ".join(SUFFIXES)}')
    check_writable(out, '--out')
    return Path(out)


def save_figure(figure, out, png_dpi=None):
    """Write a figure with tight margins; the file is complete or, if that fails, as it was before. Returns its path.

    Args:
        figure (Figure): what to write.
        out (Path): with a suffix of ``SUFFIXES``.
        png_dpi (int | None): pixels in an inch of PNG, where noise makes it large; None: the figure's own.
    """
    if out.suffix == '.png' and png_dpi:
        figure.dpi = png_dpi
    with atomic_write(out) as temporary, style():
        pixels = {'pil_kwargs': COMPRESSION[out.suffix]} if out.suffix in COMPRESSION else {}
        figure.savefig(temporary, format=out.suffix[1:], metadata=SUFFIXES[out.suffix], bbox_inches='tight',
                       pad_inches=0.02, **pixels)
    return out


def records_of(paths, dataset):
    """The records of one data set.

    Args:
        paths (iterable): files of records, and folders such as ``results/<name>``, of which validation during training
            is left out.
        dataset (str): name of the data set.

    Returns:
        list[Record]: in the order of ``paths``, each once.

    Raises:
        UserError: a path has no such record, or the records are not of the same scale and images.
    """
    records = {}
    for path in paths:
        found = find_records([path])
        finished = {file: record for file, record in found.items()
                    if record.iteration is None or file == Path(path)}
        if not finished:
            raise UserError(f'{path}: holds records of validation during training only; name one of their files, such '
                            f'as {next(iter(found))}')
        names = list(dict.fromkeys(record.dataset['name'] for record in finished.values()))
        if dataset not in names:
            raise UserError(f'--dataset: {path} has no record of {dataset!r}{near_miss(dataset, names)}; it has '
                            f'{", ".join(names)}')
        records.update((file, record) for file, record in finished.items() if record.dataset['name'] == dataset)
    check_same(records)
    return list(records.values())


def check_same(records):
    """Check that records, by file, are of one scale and the same images.

    Raises:
        UserError: names two that are not.
    """
    texts = {file: f'{record.dataset["name"]} x{record.scale} (images {record.dataset["sha256"][:8]})'
             for file, record in records.items()}
    first = next(iter(texts))
    for file, text in texts.items():
        if text != texts[first]:
            raise UserError(f'{file}: is of {text}, but {first} of {texts[first]}; a figure shows one data set at '
                            'one scale')


def metric_name(record, kind):
    """Name of the record's metric of BasicSR's type ``kind``, if there are several, of one on Y; None without any."""
    blocks = {name: block for name, block in record.protocol['metrics'].items() if block['type'] == kind}
    return min(blocks, key=lambda name: not blocks[name].get('test_y_channel', False), default=None)


def labels(records, rows=None):
    """What to call each record; ``rows`` are their names in tables, by default those of ``row_of``.

    Its method, as ``MiPKD+`` with self-ensemble; where the records' pairs differ, ``MiPKD (RCAN)``. Those that would
    still be called alike are called by the names of their runs.
    """
    names = [row.label for row in rows or map(row_of, records)]
    if len({record.pair for record in records}) > 1:
        names = [f'{name} ({record.pair})' for name, record in zip(names, records, strict=True)]
    count = Counter(names)
    return [name if count[name] == 1 else record.name for name, record in zip(names, records, strict=True)]


@dataclass(frozen=True)
class Pictures:
    """One image as the records have it; all arrays are uint8 RGB (H, W, 3) of the same size."""
    image: str
    dataset: str
    scale: int
    gt: np.ndarray
    """Cropped from its top-left corner to a multiple of the scale."""
    bicubic: np.ndarray
    """lq enlarged as MATLAB does it."""
    records: list[Record]
    outputs: list[np.ndarray]
    """The network's output for each record."""


def read_pictures(records, image):
    """Read one image of a data set and what the networks made of it.

    Args:
        records (list[Record]): of the same data set and scale, as ``records_of`` gives them.
        image (str): name of the gt image.

    Returns:
        Pictures: what was read.

    Raises:
        UserError: no such image, an output that was not saved, is not there or has another size than gt.
        DataError: the images of the data set are not there.
    """
    first = records[0]
    if first.dataset['gt'] is None:
        raise UserError(f'--dataset: {first.dataset["name"]} was measured without gt, which a figure compares with')
    files = [_output_file(record, image) for record in records]
    lq = open_store(first.dataset['lq']).read(first.images[image].lq)
    height, width = (side * first.scale for side in lq.shape[:2])
    gt = open_store(first.dataset['gt']).read(image)[:height, :width]
    outputs = [read_image(file) for file in files]
    for file, output in zip(files, outputs, strict=True):
        if output.shape != gt.shape:
            raise UserError(f'{file}: is {output.shape[1]}x{output.shape[0]}, but gt {gt.shape[1]}x{gt.shape[0]}; was '
                            'it made from other images? Evaluate anew')
    return Pictures(image, first.dataset['name'], first.scale, gt, imresize(lq, size=(height, width)), records, outputs)


def _output_file(record, image):
    output = record.images[one_of('--image', image, list(record.images))].output
    if output is None:
        command = record.command + (' val:save_img=true' if '--force_yml' in record.command
                                    else ' --force_yml val:save_img=true')
        raise UserError(f'{record.name}: its images were not saved; evaluate again with: {command}')
    if not Path(output).is_file():
        raise UserError(f'{output}: is not there; records name files as seen from the folder that the evaluation was '
                        f'started in. Go there, or evaluate again: {record.command}')
    return Path(output)


def text_width(text):
    """Inches that a line of text takes in bold, which is wider than normal; to be called within ``style``."""
    path = TextPath((0, 0), text, size=STYLE['font.size'], prop=FontProperties(weight='bold'))
    return path.get_extents().width / 72


def hide_ticks(axes):
    """Leave of axes that show an image only the image and its label."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
