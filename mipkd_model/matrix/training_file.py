"""The option file of a training: one template, filled in and commented."""
from pathlib import Path
from textwrap import indent

from mipkd_arch.errors import command

from ..teachers import OFFICIAL
from .methods import STAGED, blocks_of
from .networks import NAMED_CUTS, STUDENTS, teacher_block, teacher_key
from .option_file import BENCHMARK_SET, METRICS, head_text, how_written, student_text, teacher_text

TEMPLATE = '''\
{head}
datasets:
  train:
    name: DIV2K
    type: PairedSRDataset
    dataroot_gt: datasets/DIV2K/train_HR.lmdb
    dataroot_lq: datasets/DIV2K/train_LRx{scale}.lmdb
    gt_size: {gt_size:<12}# LR patches of 48x48
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 4
    batch_size_per_gpu: 16
    pin_memory: true
{val_set}
{networks}
path:
{paths}\
  resume_state: ~

train:
  ema_decay: 0.999
  # How steps are computed, not what; docs/speed.md says what each is worth.
  precision: auto        # bf16 where the hardware has it, else fp32; or say which: bf16, tf32, fp32
  channels_last: true
  compile: false         # torch.compile for the networks' blocks
  cuda_graphs: false     # launch a whole step at once; on one GPU
  accumulate: 1          # parts that a batch is passed in, for less memory
  grad_clip: ~           # largest norm of the gradient
  nonfinite: skip        # what happens to a step whose loss or gradient is not finite: skip, stop
{stages}\
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: [100000, 200000]
    gamma: 0.1
  total_iter: 250000
  warmup_iter: -1

{losses}
val:
  val_freq: !!float 5e3
  save_img: false
{teacher_check}\
{metrics}
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  keep_states: 3         # newest training states that are kept
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

dist_params:
  backend: auto          # nccl on GPUs, gloo on CPUs
  port: 29500            # for SLURM alone
'''
READINGS = (
    "Sizes and schedule follow the paper's family of work; docs/method.md says which settings are published and which",
    "are this project's reading. Another student, teacher or method: mipkd options --list, or edit the blocks.")
CUTS = '''\
# Feature maps are taken after the head and after every stage. A stage ends after each block that is named here; a
# number instead of names cuts into that many even stages, which lets student and teacher differ in depth and family.
cuts_g: {cuts}
cuts_t: {cuts}
'''
MIXER_LR = 'mixer_lr: !!float 1e-4\n'
FROM_SCRATCH = '''\
pretrain_network_g: ~
strict_load_g: true
'''
ENTRY_FROM_SCRATCH = '''\
# From scratch, so that no other run has to come first. The paper's family of work starts the x4 EDSR student from
# its x2 student, as options/train_MiPKD_EDSR_x4.yml does.
''' + FROM_SCRATCH
FROM_X2 = '''\
# The paper's family of work starts the x4 EDSR student from its x2 student (strict_load_g: false takes all weights
# of equal shape, that is all but the last step of the upsampler).
pretrain_network_g: {}
strict_load_g: false
'''
TEACHER_WEIGHTS = '''\
pretrain_network_t: {}
strict_load_t: true
'''
TEACHER_CHECK = '  check_teacher: true    # measure the teacher first, and report one that is worse than bicubic\n'


def text_of_training(run, file):
    """The whole text of the option file of a run's training.

    Args:
        run (Run): the run.
        file: where the text will lie, for the commands in its head.

    Returns:
        str: YAML with comments.

    Raises:
        UserError: the run is a teacher's, which is not trained.
    """
    pair, scale, blocks = run.pair, run.pair.scale, blocks_of(run.method)
    has_teacher, mixes = blocks.keys() != {'pixel_opt'}, 'mixer_opt' in blocks
    networks = [student_text(pair), *([teacher_text(pair, 'network_t', ', frozen')] if has_teacher else [])]
    return TEMPLATE.format(
        head=head_text(run, run.name, _header(run, Path(file), has_teacher)), scale=scale, gt_size=48 * scale,
        val_set=BENCHMARK_SET.format(phase='val', name='Set5', scale=scale), networks='\n'.join(networks),
        paths=indent(_paths(run, has_teacher), '  '), stages=indent(_stages(pair, blocks, mixes), '  '),
        losses=indent(''.join(blocks.values()), '  '), metrics=METRICS.format(scale=scale),
        teacher_check=TEACHER_CHECK if has_teacher else '')


def _header(run, file, has_teacher):
    pair = run.pair
    teacher = OFFICIAL[teacher_key(pair.teacher, pair.scale)].about if has_teacher else 'none'
    return [f'{run.row} for x{pair.scale}.', f'Student: {STUDENTS[pair.student].about}.', f'Teacher: {teacher}.', '',
            *_commands(run, file, has_teacher), '', *READINGS]


def _commands(run, file, has_teacher):
    """What to type, from nothing to a table, with an explanation below a command that needs one."""
    if run.start:
        start = file.with_name(f'{run.start.name}.yml')
        yield f'  {command("python", "basicsr/train.py", "-opt", start)}'
        yield f'      the x2 student; its file is written by: {how_written(run.start.name, start)}'
    yield f'  {command("mipkd", "data", "all", "-opt", file)}'
    yield f"      DIV2K, benchmark sets{', published weights' if has_teacher else ''}"
    yield f'  {command("python", "basicsr/train.py", "-opt", file)}'
    test = file.with_name(f'{run.test_name}.yml')
    yield f'  {command("python", "basicsr/test.py", "-opt", test)}'
    yield f'      PSNR and SSIM; its file is written by: {how_written(run.test_name, test)}'
    yield '  mipkd table'
    yield '      its figures beside those of other runs'


def _stages(pair, blocks, mixes):
    if STAGED.isdisjoint(blocks):
        return ''
    names = NAMED_CUTS.get((pair.teacher, pair.student))
    return CUTS.format(cuts=f'[{", ".join(names)}]' if names else 3) + (MIXER_LR if mixes else '')


def _paths(run, has_teacher):
    text = (ENTRY_FROM_SCRATCH if run.is_entry else FROM_X2.format(run.start.student_file) if run.start else
            FROM_SCRATCH)
    if has_teacher:
        weights = teacher_block(run.pair.teacher, run.pair.scale)[1]
        text += (TEACHER_WEIGHTS.format(weights) if weights else '') + 'ignore_resume_networks: network_t\n'
    return text
