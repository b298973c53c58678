"""The option file of a test: the trained student, or the teacher as it is, on the benchmark sets."""
from pathlib import Path

from .networks import STUDENTS, teacher_key
from .option_file import (
    METRICS,
    as_yaml,
    data_set_text,
    head_text,
    how_started,
    how_written,
    student_text,
    teacher_text,
)

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
    if run.is_teacher:
        weights = run.teacher.weights
        network = teacher_text(run, 'network_g')
        paths = TEACHER_PATHS.format(as_yaml(weights)) if weights else BROUGHT
    else:
        network, paths = student_text(run.pair), STUDENT_PATHS.format(as_yaml(run.student_file))
    sets = [data_set_text(f'test_{i}', data) for i, data in enumerate(run.test_sets, 1)]
    return TEMPLATE.format(head=head_text(run, run.test_name, _header(run, Path(file))), sets=''.join(sets),
                           network=network, paths=paths, metrics=METRICS.format(scale=run.pair.scale))


def _header(run, file):
    pair = run.pair
    if run.is_teacher:
        what = [f'Test of the teacher for x{pair.scale}.', f'Teacher: {run.teacher.about}.']
        fetch = f'  mipkd teacher get {teacher_key(pair.teacher, pair.scale)}'
        weights = [] if run.own and run.own.teacher else [fetch]
    else:
        what = [f'Test of {run.row} for x{pair.scale}.', f'Student: {STUDENTS[pair.student].about}.']
        train = file.with_name(f'{run.name}.yml')
        weights = [f'  {how_started("train", train)}',
                   '      the student' + ('' if run.own else
                                          f'; its file is written by: {how_written(run.name, train)}')]
    data = [] if run.own and run.own.val else ['  mipkd data benchmark',
                                               f'      {", ".join(data.name for data in run.test_sets)}']
    return [*what, '', *weights, *data, f'  {how_started("test", file)}', '  mipkd table',
            '      its figures beside those of other runs', '']
