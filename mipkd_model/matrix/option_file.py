"""What option files of trainings and tests have in common, and how they are written."""
from pathlib import Path

from mipkd_arch.errors import UserError, command

from .networks import student_block, student_parameters, teacher_block, teacher_parameters

HEAD = '''\
{header}
name: {name}
model_type: MiPKDModel
scale: {scale}
num_gpu: auto            # all GPUs that are there (one process for each, by torchrun); 0 runs on the CPU
manual_seed: 0

table:                   # where the results stand in tables
  pair: {pair}
  method: {method}
'''
BENCHMARK_SET = '''\
  {phase}:
    name: {name}
    type: PairedSRDataset
    dataroot_gt: datasets/benchmark/{name}/HR
    dataroot_lq: datasets/benchmark/{name}/LR_bicubic/X{scale}
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
    header = '\n'.join(f'# {line}'.rstrip() for line in [*lines, f'This file was written by: {how_written(name)}'])
    return HEAD.format(header=header, name=name, scale=run.pair.scale, pair=run.pair.title, method=run.row)


def how_written(name, file=None):
    """The command that writes the option file of a training or test, into ``options`` or to ``file``."""
    out = [] if file is None or file == Path('options', f'{name}.yml') else ['--out', file]
    return command('mipkd', 'options', '--name', name, *out)


def student_text(pair):
    """The student as ``network_g``."""
    count = student_parameters(pair.student, pair.scale)
    return _network('network_g', f'the student: {count / 1e6:.2f}M parameters', student_block(pair.student, pair.scale))


def teacher_text(pair, key, more=''):
    """The teacher as ``key``; ``more`` is what the comment says beside its size."""
    count = teacher_parameters(pair.teacher, pair.scale)
    size = f'{count / 1e6:.2f}M parameters' if count else 'its sizes are in the file of its weights'
    return _network(key, f'the teacher: {size}{more}', teacher_block(pair.teacher, pair.scale)[0])


def _network(key, comment, block):
    # Names, numbers and lists of numbers, of which Python's writing is YAML's.
    return f'{key}:               # {comment}\n' + ''.join(f'  {name}: {value}\n' for name, value in block.items())


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
