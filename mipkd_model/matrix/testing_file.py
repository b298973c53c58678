"""The option file of a test: the trained student, or the teacher as it is, on the benchmark sets."""
from pathlib import Path

from mipkd_arch.errors import command

from ..teachers import OFFICIAL
from .networks import STUDENTS, teacher_block, teacher_key
from .option_file import BENCHMARK_SET, METRICS, head_text, how_written, student_text, teacher_text

SETS = ('Set5', 'Set14', 'BSD100', 'Urban100')

TEMPLATE = '''\
{head}
datasets:
{sets}
{network}
path:
{paths}
val:
  save_img: false
  self_ensemble: false   # mean over the 8 flips and turns
  tile: ~                # lq pixels; cut large images into tiles
  tile_pad: 16           # lq pixels that a tile sees beyond its edge
{metrics}'''
STUDENT_PATHS = '''\
  pretrain_network_g: {}
  strict_load_g: true
  param_key_g: params_ema
'''
TEACHER_PATHS = '''\
  pretrain_network_g: {}
  strict_load_g: true
'''
BROUGHT = '''\
  pretrain_network_g: ~    # network_g.file has the weights
'''


def text_of_test(run, file):
    """The whole text of the option file of a run's test.

    Args:
        run (Run): the run.
        file: where the text will lie, for the commands in its head.

    Returns:
        str: YAML with comments.
    """
    pair, scale = run.pair, run.pair.scale
    if run.is_teacher:
        weights = teacher_block(pair.teacher, scale)[1]
        network, paths = teacher_text(pair, 'network_g'), TEACHER_PATHS.format(weights) if weights else BROUGHT
    else:
        network, paths = student_text(pair), STUDENT_PATHS.format(run.student_file)
    sets = [BENCHMARK_SET.format(phase=f'test_{i}', name=name, scale=scale) for i, name in enumerate(SETS, 1)]
    return TEMPLATE.format(head=head_text(run, run.test_name, _header(run, Path(file))), sets=''.join(sets),
                           network=network, paths=paths, metrics=METRICS.format(scale=scale))


def _header(run, file):
    pair = run.pair
    key = teacher_key(pair.teacher, pair.scale)
    if run.is_teacher:
        what = [f'Test of the teacher for x{pair.scale}.', f'Teacher: {OFFICIAL[key].about}.']
        weights = [f'  mipkd teacher get {key}']
    else:
        what = [f'Test of {run.row} for x{pair.scale}.', f'Student: {STUDENTS[pair.student].about}.']
        train = file.with_name(f'{run.name}.yml')
        weights = [f'  {command("python", "basicsr/train.py", "-opt", train)}',
                   f'      the student; its file is written by: {how_written(run.name, train)}']
    return [*what, '', *weights, '  mipkd data benchmark', f'      {", ".join(SETS)}',
            f'  {command("python", "basicsr/test.py", "-opt", file)}', '  mipkd table',
            '      its figures beside those of other runs', '']
