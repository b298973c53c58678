"""What a user puts in place of parts of a run: images, teacher, length."""
import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, command, one_line, printable

from ..data.prepare.layouts import find_hr, find_lr, image_folders
from .methods import TEACHER

# The functions that open images and weights import torch when they are called: names and lists do not need it.

NAMES = ('data', 'lq', 'val', 'val_lq', 'teacher', 'iters', 'plugins')
"""Arguments of ``mipkd options write`` that make a run custom."""
PATCH = 48
"""Side of an LR patch in training, in pixels."""
STEP = 8
"""LR patches of images that are smaller are multiples of this, as SwinIR's windows need it."""
NAMES_OF_HR = re.compile(r'(hr|gt|original|images)', re.I)


@dataclass(frozen=True)
class Dataset:
    """Pairs of HR and LR images, each a folder or an LMDB."""
    name: str
    gt: str
    lq: str
    patch: int = PATCH  # side of the LR patches, in pixels


@dataclass(frozen=True)
class Teacher:
    """A trained network."""
    about: str  # what it is, in a few words
    block: dict[str, Any]  # its option block
    weights: str | None  # path of the weights to load into it; None where the block names them
    parameters: int | None = None  # how many it has, None where that is not known
    label: str | None = None  # what tables call it; None for the one that the pair has
    assumed: tuple[str, ...] = ()  # options of the block that the weights do not tell; they have the usual values


@dataclass(frozen=True)
class CustomParts:
    """Parts of a user's own; None leaves the part as published."""
    command: str | None = None
    """The command that wrote the files, quoted for the shell; None for a run without any such part."""
    data: Dataset | None = None  # images to train on
    val: Dataset | None = None  # images to measure on
    teachers: tuple[Teacher, ...] = ()
    total_iter: int | None = None  # iterations of the training
    plugins: tuple[str, ...] = ()  # folders of networks, losses and the like

    @property
    def suffix(self) -> str:
        """End of the name of the run, so that no other run has that name; '' without custom parts."""
        if self.command is None:
            return ''
        labels = '+'.join(str(teacher.label) for teacher in self.teachers)
        names = [self.data and self.data.name, labels, self.val and self.val.name]
        name = next(filter(None, names), None if self.total_iter else 'own')
        return re.sub(r'[^\w.+-]+', '_', ''.join(f'_{part}' for part in (name, self.total_iter) if part))


def aggregated(teachers: Mapping[str, Teacher], scale: int, weights: str | None, features_of: str | None) -> Teacher:
    """Several teachers, by name, and the network that makes one image of theirs, of which ``weights`` are."""
    blocks = {name: {**teacher.block, **({'file': teacher.weights} if teacher.weights else {})}
              for name, teacher in teachers.items()}
    block = {'type': 'TeacherEnsemble', 'upscale': scale, 'features_of': features_of, 'num_feat': 96, 'depths': [4, 4],
             'num_heads': 6, 'mlp_ratio': 2, 'skip': False, 'teachers': blocks}
    return Teacher(f'{", ".join(teachers)}, whose images DCTSwin aggregates', block, weights)


def is_custom(args: Namespace) -> bool:
    """Whether any of ``NAMES`` is given."""
    return any(_is_given(args, name) for name in NAMES)


def _is_given(args: Namespace, name: str) -> bool:
    return getattr(args, name) not in (None, [])


def read_custom_parts(args: Namespace, scale: int, has_teacher: bool) -> tuple[CustomParts, list[UserError]]:
    """What arguments of ``mipkd options write`` put in place of parts of a run, and all that is wrong with them."""
    errors = [UserError(f'{_flag(name)}: has no meaning {reason}') for name, is_wrong, reason in (
        ('lq', args.data is None, 'without --data, the HR images'),
        ('val_lq', args.val is None, 'without --val, the HR images'),
        ('data', args.test, 'with --test, which trains nothing'),
        ('iters', args.test, 'with --test, which trains nothing'),
        ('teacher', args.method == TEACHER and len(args.teacher) > 1,
         f'for several files with {TEACHER}, which measures one teacher'),
        ('teacher', not has_teacher, f'with {args.method}, which has no teacher'))
        if is_wrong and _is_given(args, name)]
    readers: dict[str, Callable[[str], Any]] = {
        'data': lambda folder: find_dataset('--data', folder, args.lq, scale, 'train'),
        'val': lambda folder: find_dataset('--val', folder, args.val_lq, scale, 'val'),
        'teacher': lambda files: _named_apart([read_teacher(file, scale) for file in files]),
        'iters': _iterations}
    parts: dict[str, Any] = {}
    for name, read in readers.items():
        if _is_given(args, name):
            try:
                parts[name] = read(getattr(args, name))
            except UserError as error:
                errors.append(error)
    custom = CustomParts(_command(args), parts.get('data'), parts.get('val'), parts.get('teacher', ()),
                         parts.get('iters'), tuple(args.plugins))
    return custom, errors


def _named_apart(teachers: list[Teacher]) -> tuple[Teacher, ...]:
    """Teachers with labels that are names of their own: files of several runs are called alike."""
    labels: list[str] = []
    for teacher in teachers:
        label = str(teacher.label)
        count = sum(re.fullmatch(rf'{re.escape(label)}(_\d+)?', other) is not None for other in labels)
        labels.append(f'{label}_{count + 1}' if count else label)
    return tuple(replace(teacher, label=label) for teacher, label in zip(teachers, labels, strict=True))


def _iterations(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e15 or value != int(value):
        raise UserError(f"--iters: '{printable(text)}' is not an integer of at least 1; write for example 50000")
    return int(value)


def _command(args: Namespace) -> str:
    words = ['mipkd', 'options', 'write', args.pair, args.method, *(['--test'] if args.test else [])]
    for name in (*NAMES, 'out'):
        value = getattr(args, name)
        if value not in (None, []):
            words += [_flag(name), *(value if isinstance(value, list) else [value])]
    return shlex.join(words)


def _flag(name: str) -> str:
    return f'--{name.replace("_", "-")}'


def find_dataset(option: str, folder: str, lq: str | None, scale: int, part: str) -> Dataset:
    """Find and open the pairs that a user means.

    Args:
        option: what messages call ``folder``: ``--data`` or ``--val``.
        folder: of HR images; one that was packed as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb``; or one with
            HR and LR images in folders of the usual names below it.
        lq: folder, or LMDB, of the LR images; None: they are looked for next to the HR images.
        scale: gt size over lq size.
        part: 'train' or 'val', which is preferred where several parts are packed; patches are cut from 'train'.

    Raises:
        UserError: there are none, they are no pairs, or too small; with the command that makes missing LR images.
    """
    lr_folder = None if lq is None else Path(lq).expanduser()
    if lr_folder and not lr_folder.is_dir():
        raise UserError(f'{"--lq" if option == "--data" else "--val-lq"}: {printable(str(lq))} is no folder; name that '
                        f'of the LR x{scale} images')
    try:
        return _open_dataset(option, Path(folder).expanduser(), lr_folder, scale, part)
    except UserError as error:
        raise UserError(f'{option}: {one_line(error)}') from None


def _open_dataset(option: str, folder: Path, lq: Path | None, scale: int, part: str) -> Dataset:
    from ..data.paired_dataset import PairedSRDataset
    if not folder.is_dir():
        raise UserError(f'{printable(str(folder))} is no folder; name one of HR images, or one that mipkd data pack '
                        'has filled')
    gt, lr = _find_pair(option, folder, scale, part, lq)
    pairs = PairedSRDataset({'phase': 'val', 'scale': scale, 'dataroot_gt': str(gt), 'dataroot_lq': str(lr)})
    side, image = min((min(pairs.lq.shapes[lq_name][:2]), gt_name) for gt_name, lq_name in pairs.pairs)
    patch = PATCH if side >= PATCH else side // STEP * STEP
    if part == 'train' and not patch:
        raise UserError(f'{gt}: image {image!r} has a side of less than {STEP * scale} pixels, too few to train on; '
                        f'leave such images out by --min-side {STEP * scale} of mipkd data pack')
    return Dataset(_name(gt), str(gt), str(lr), patch)


def _find_pair(option: str, root: Path, scale: int, part: str, lr: Path | None) -> tuple[Path, Path]:
    """Paths of HR and LR images."""
    packed = [root] if root.suffix == '.lmdb' else sorted(
        root.glob('*_HR.lmdb'), key=lambda file: (not file.name.startswith(f'{part}_'), file.name))
    if packed:
        gt, hr, out = packed[0], Path('FOLDER'), packed[0].parent
        found = gt.with_name(f'{gt.stem.removesuffix("_HR")}_LRx{scale}.lmdb')
        lr = lr or (found if found.is_dir() else None)
    else:
        has_images = root in image_folders(root)
        gt = hr = root if has_images else find_hr(root)
        lr = lr or (None if has_images else find_lr(root, scale))
        out = Path('datasets', _name(gt))
    if lr is None:
        pack = command('mipkd', 'data', 'pack', '--hr', hr, '--scale', scale, '--out', out)
        raise UserError(f'{gt} has no LR x{scale} images. Make them: {pack}, and give {command(option, out)}')
    return gt, lr


def _name(gt: Path) -> str:
    """Name of a dataset: that of the folder, or of its parent where it only tells that the images are HR."""
    folder = gt.resolve()
    if folder.suffix == '.lmdb' or NAMES_OF_HR.fullmatch(folder.name):
        folder = folder.parent
    return folder.name


def read_teacher(file: str, scale: int) -> Teacher:
    """The network that a file has weights of: one whose sizes can be read from them, or one that spandrel opens.

    Raises:
        UserError: the file is missing or not readable, its network is not known, or has another scale.
    """
    try:
        teacher, upscale = _open_teacher(Path(file).expanduser())
    except UserError as error:
        raise UserError(f'--teacher: {one_line(error)}') from None
    if upscale != scale:
        raise UserError(f'--teacher: {printable(file)}: is {teacher.about} for x{upscale}, and PAIR is for x{scale}; '
                        f'name a pair that ends in _x{upscale}, or other weights')
    return teacher


def _open_teacher(path: Path) -> tuple[Teacher, int]:
    """The teacher and its scale."""
    from mipkd_arch.base.checkpoint import find_state_dict, read_checkpoint, without_trainer

    from ..networks.build import make_network
    from ..networks.convert import is_of_edsr_pytorch, network_of
    if not path.is_file():
        raise UserError(f'{printable(str(path))} is no file; name that of its weights. Published ones are fetched by: '
                        'mipkd teacher get NAME')
    state = without_trainer(find_state_dict(read_checkpoint(path), path),
                            lambda names: is_of_edsr_pytorch(names) or network_of(names) is not None)
    if is_of_edsr_pytorch(state):
        out = str(path.with_name(f'{path.stem}_basicsr.pth'))
        raise UserError(f'{printable(str(path))}: has the names of EDSR-PyTorch. Convert it: '
                        f'{command("mipkd", "teacher", "convert", path, "--out", out)} and give '
                        f'{command("--teacher", out)}')
    known = network_of(state)
    block, assumed = known or ({'type': 'SpandrelNetwork', 'file': str(path)}, ())
    try:
        network: Any = make_network({'network_t': block, 'path': {}}, 't')[0]
    except UserError as error:
        raise UserError(f'{one_line(error)}. Sizes are read from weights of EDSR, RCAN and SwinIR; for any other '
                        'network write network_t and path.pretrain_network_t yourself') from None
    if known is None:
        about = f'{type(network.wrapped).__name__}, opened by spandrel'
        return Teacher(about, block, None, None, path.stem), network.upscale
    parameters = sum(parameter.numel() for parameter in network.parameters())
    about = f'{block["type"]}, its sizes read from {path.name}'
    return Teacher(about, block, str(path), parameters, path.stem, tuple(assumed)), block['upscale']
