"""The option file of a run: one template, filled in and commented."""
from pathlib import Path
from textwrap import indent

from mipkd_arch.errors import UserError

from ..teachers import OFFICIAL
from .methods import MIXER_OPT, MIXING, STAGED, blocks_of
from .networks import (
    NAMED_CUTS,
    STUDENTS,
    student_block,
    student_parameters,
    teacher_block,
    teacher_key,
    teacher_parameters,
)

TEMPLATE = '''\
{header}
name: {name}
model_type: MiPKDModel
scale: {scale}
num_gpu: auto            # all GPUs that are there (one process for each, by torchrun); 0 runs on the CPU
manual_seed: 0

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
  val:
    name: Set5
    type: PairedSRDataset
    dataroot_gt: datasets/benchmark/Set5/HR
    dataroot_lq: datasets/benchmark/Set5/LR_bicubic/X{scale}

{networks}\

path:
{paths}\
  resume_state: ~

train:
  ema_decay: 0.999
  precision: auto        # bf16 where the hardware has it, fp32 where it has not; or say which
  channels_last: true
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

{losses}\

val:
  val_freq: !!float 5e3
  save_img: false
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: {scale}
      test_y_channel: true
    ssim:
      type: calculate_ssim
      crop_border: {scale}
      test_y_channel: true

logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

{unused}\
dist_params:
  backend: nccl
  port: 29500
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
pretrain_network_g: experiments/{}/models/net_g_latest.pth
strict_load_g: false
'''
TEACHER_WEIGHTS = '''\
pretrain_network_t: {}
strict_load_t: true
'''


def option_text(run, file):
    """The whole text of a run's option file.

    Args:
        run (Run): the run.
        file: where the text will lie, for the commands in its head.

    Returns:
        str: YAML with comments.
    """
    pair, blocks = run.pair, blocks_of(run.method)
    mixes = not MIXING.isdisjoint(blocks)
    stages = '' if STAGED.isdisjoint(blocks) else CUTS.format(cuts=_cuts(pair)) + (MIXER_LR if mixes else '')
    return TEMPLATE.format(
        header=_header(run, file), name=run.name, scale=pair.scale, gt_size=48 * pair.scale,
        networks='\n'.join(_networks(run)), paths=indent(_paths(run), '  '), stages=indent(stages, '  '),
        losses=indent(''.join([MIXER_OPT, *blocks] if mixes else blocks), '  '),
        unused='find_unused_parameters: true  # a drawn route leaves some mixers out\n' if mixes else '')


def write_option_file(run, file):
    """Write a run's option file, unless it is there already.

    Raises:
        UserError: another file is there, or nothing can be written there.
    """
    file = Path(file)
    data = option_text(run, file).encode()
    try:
        if file.exists() and file.read_bytes() != data:
            raise UserError(f'{file}: exists already with other content and is left alone; remove it first, or write '
                            'elsewhere with --out')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise UserError(f'{file}: cannot be written ({error.strerror}); write elsewhere with --out') from None


def _has_teacher(run):
    return len(blocks_of(run.method)) > 1  # every loss but pixel_opt compares with a teacher


def _cuts(pair):
    names = NAMED_CUTS.get((pair.teacher, pair.student))
    return f'[{", ".join(names)}]' if names else 3


def _header(run, file):
    teacher = OFFICIAL[teacher_key(run.pair.teacher, run.pair.scale)].about if _has_teacher(run) else 'none'
    lines = [f'{run.method} for x{run.pair.scale}.', f'Student: {STUDENTS[run.pair.student].about}.',
             f'Teacher: {teacher}.', '', *_commands(run, Path(file)), '', *READINGS,
             f'This file was written by: mipkd options --name {run.name}']
    return '\n'.join(f'# {line}'.rstrip() for line in lines)


def _commands(run, file):
    """What to type, from nothing to the trained student, with an explanation below a command that needs one."""
    if run.start:
        yield f'  python basicsr/train.py -opt {file.with_name(run.start.name + ".yml")}'
        yield '      first, for the x2 student that this one starts from'
    yield f'  python datasets/prepare.py all -opt {file}'
    yield f"      DIV2K, Set5{', published weights' if _has_teacher(run) else ''}"
    yield f'  python basicsr/train.py -opt {file}'


def _networks(run):
    pair = run.pair
    count = student_parameters(pair.student, pair.scale)
    yield _block(f'network_g:               # the student: {count / 1e6:.2f}M parameters',
                 student_block(pair.student, pair.scale))
    if _has_teacher(run):
        count = teacher_parameters(pair.teacher, pair.scale)
        size = f'{count / 1e6:.2f}M parameters' if count else 'its sizes are in the file of its weights'
        yield _block(f'network_t:               # the teacher: {size}, frozen',
                     teacher_block(pair.teacher, pair.scale)[0])


def _block(title, options):
    # Names, numbers and lists of numbers, of which Python's writing is YAML's.
    return title + '\n' + ''.join(f'  {key}: {value}\n' for key, value in options.items())


def _paths(run):
    text = ENTRY_FROM_SCRATCH if run.is_entry else FROM_X2.format(run.start.name) if run.start else FROM_SCRATCH
    if _has_teacher(run):
        weights = teacher_block(run.pair.teacher, run.pair.scale)[1]
        text += (TEACHER_WEIGHTS.format(weights) if weights else '') + 'ignore_resume_networks: network_t\n'
    return text
