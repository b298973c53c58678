"""What option files of trainings and tests have in common, and how they are written."""
import json
import re
from contextlib import suppress
from pathlib import Path

import yaml

from mipkd_arch.base.errors import UserError, command, printable

from ..config.reader import parse
from .networks import parameters_of, student_block, student_parameters

HEAD = '''\
{header}
name: {name}
model_type: MiPKDModel
scale: {scale}
num_gpu: auto            # all GPUs that are there (one process for each, by torchrun); 0 runs on the CPU
manual_seed: 0
{plugins}
table:                   # where the results stand in tables
  pair: {pair}
  method: {method}
'''
DATA_SET = '''\
  {phase}:
    name: {name}
    type: PairedSRDataset
    dataroot_gt: {gt}
    dataroot_lq: {lq}
'''
METRICS = '''\
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: {scale}
      test_y_channel: true
    ssim:
      type: calculate_ssim
      crop_border: {scale}
      test_y_channel: true
'''


def head_text(run, name, lines):
    """The beginning of an option file: a comment, the keys of every file, and the place in tables.

    Args:
        run (Run): the run.
        name (str): of its training or test.
        lines (list[str]): what the comment says.
    """
    command = run.own.command if run.own else how_written(name)
    header = '\n'.join(f'# {printable(line)}'.rstrip() for line in [*lines, f'This file was written by: {command}'])
    plugins = f'plugins: {_listed(run.own.plugins)}\n' if run.own and run.own.plugins else ''
    return HEAD.format(header=header, name=as_yaml(name), scale=run.pair.scale, plugins=plugins,
                       pair=as_yaml(run.title), method=run.row)


def how_written(name, file=None):
    """The command that writes the option file of a training or test, into ``options`` or to ``file``."""
    out = [] if file is None or file == Path('options', f'{name}.yml') else ['--out', file]
    return command('mipkd', 'options', '--name', name, *out)


def how_started(script, file):
    """The command that starts a training or test, ``script``, from an option file."""
    return command('mipkd', script, '-opt', file)


def as_yaml(text):
    """A text as an option file has it: in quotes where it would be read as anything else, or in part, without."""
    plain = re.fullmatch(r'[\w./~+-]+( [\w./~+-]+)*', text)
    with suppress(UserError):
        if plain and parse(text, '') == yaml.safe_load(text) == text:  # by our rules and those of BasicSR's reader
            return text
    return json.dumps(text, ensure_ascii=False)


def data_set_text(phase, data):
    """A data set as the block of a phase."""
    return DATA_SET.format(phase=phase, name=as_yaml(data.name), gt=as_yaml(data.gt), lq=as_yaml(data.lq))


def student_text(pair):
    """The student as ``network_g``."""
    count = student_parameters(pair.student, pair.scale)
    return _network('network_g', f'the student: {count / 1e6:.2f}M parameters', student_block(pair.student, pair.scale))


def teacher_text(run, key, more=''):
    """The teacher as ``key``; ``more`` is what the comment says beside its size."""
    teacher = run.teacher
    count = parameters_of(teacher.block) if teacher.block['type'] != 'SpandrelNetwork' else None
    size = f'{count / 1e6:.2f}M parameters' if count else 'its sizes are in the file of its weights'
    text = _network(key, f'the teacher: {size}{more}', teacher.block)
    if teacher.assumed:
        text += f'  # The weights do not tell {", ".join(teacher.assumed)}; these are the usual ones.\n'
    return text


def _network(key, comment, block):
    lines = (f'  {name}: {_value(value)}\n' for name, value in block.items())
    return f'{key}:               # {comment}\n' + ''.join(lines)


def _value(value):
    # Numbers and lists of numbers, of which Python's writing is YAML's, and texts.
    return as_yaml(value) if isinstance(value, str) else value


def _listed(texts):
    return f'[{", ".join(json.dumps(text, ensure_ascii=False) for text in texts)}]'


def write_option_files(texts):
    """Write option files, those that are there already with the same content included; all or, if one differs, none.

    Args:
        texts (dict): texts by file.

    Raises:
        UserError: another file is there, or nothing can be written there.
    """
    for file, text in texts.items():
        if _content(file) not in (None, text.encode()):
            raise UserError(f'{file}: exists already with other content and is left alone; remove it first, or write '
                            'elsewhere with --out')
    for file, text in texts.items():
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_bytes(text.encode())
        except OSError as error:
            raise _not_writable(file, error) from None


def _content(file):
    """Bytes of a file, None where there is none."""
    try:
        return Path(file).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_writable(file, error) from None


def _not_writable(file, error):
    return UserError(f'{file}: cannot be written ({error.strerror}); write elsewhere with --out')
