"""Every option that a run of MiPKDModel reads: what it may be, what holds without it, and what it means.

The checks before a run and the page ``docs/options.md`` are both made of these tables. Blocks that name a class by
``type`` (networks, losses, metrics) have besides the arguments of that class.
"""
import re
from dataclasses import dataclass

from ..losses.schedule import TYPES, WeightSchedule
from .kinds import (
    Anything,
    Choice,
    Either,
    Iterations,
    Kind,
    ListOf,
    Maybe,
    Name,
    Number,
    Path,
    Switch,
    Template,
    Text,
    Whole,
)

NEEDED = object()
"""In place of a default: the option must be given."""
BLOCK, TYPED = Anything('a block'), Anything('a block with a type')


@dataclass(frozen=True)
class Option:
    """An option of a block."""
    kind: Kind
    default: object
    about: str
    tests: object = None
    """The default of tests where it is another than that of trainings."""
    hint: str = ''
    """What a message says besides where the option is missing."""

    def default_of(self, is_train):
        return self.default if is_train or self.tests is None else self.tests


TOP = {
    'name': Option(Name(), NEEDED, 'Name of the run, which is that of its folder in experiments or results.'),
    'model_type': Option(Anything('MiPKDModel'), NEEDED,
                         'What trains. BasicSR\'s other models run, too; their options are checked as far as '
                         'BasicSR\'s pipeline reads them.'),
    'scale': Option(Whole(1, 64), NEEDED, 'Size of gt over size of lq; 1: images are restored in their own size.'),
    'num_gpu': Option(Either((Choice(('auto', )), Whole(0)), 'auto, or a whole number of at least 0'), NEEDED,
                      'auto: all GPUs that are there, one process for each by torchrun; 0: the CPU.'),
    'manual_seed': Option(Maybe(Whole(0, 2**32 - 1)), None,
                          'What all random choices are made from; without it, another one in each run.'),
    'plugins': Option(Anything('a folder, or a list of folders'), None,
                      'Folders of networks, losses, data sets, models and metrics of your own, in files `*_arch.py`, '
                      '`*_loss.py`, `*_dataset.py`, `*_model.py` and `*_metric.py`.'),
    'table': Option(BLOCK, None, 'Where the results stand in tables.'),
    'datasets': Option(BLOCK, NEEDED, 'What is trained and measured on.'),
    'network_g': Option(TYPED, NEEDED, 'The student: type, and arguments of that network.'),
    'network_t': Option(TYPED, None, 'The teacher, which losses other than pixel_opt need: type and arguments.'),
    'path': Option(BLOCK, NEEDED, 'Files of weights and states.'),
    'train': Option(BLOCK, NEEDED, 'How a student is trained, and by which losses.', tests=()),
    'val': Option(BLOCK, None, 'How networks are measured.', tests=NEEDED),
    'logger': Option(BLOCK, NEEDED, 'What a training writes.', tests=()),
    'dist_params': Option(BLOCK, None, 'How the processes of a distributed run find each other.'),
}
TABLE = {
    'pair': Option(Text(200), None, 'Teacher and student.'),
    'method': Option(Text(200), None, 'The method.'),
}
DATA = {
    'name': Option(Name(), NEEDED, 'Name of the data set; each that is measured has its own.'),
    'type': Option(Anything('PairedSRDataset, or a data set of BasicSR'), NEEDED, 'Class that reads it.'),
    'dataroot_gt': Option(Path(), NEEDED, 'Folder of images, or an LMDB (*.lmdb).'),
    'dataroot_lq': Option(Path(), NEEDED, 'The same images, smaller by scale; at scale 1 those to be restored.'),
    'pin_memory': Option(Switch(), False, 'Keep batches where a GPU can fetch them by itself.'),
}
MEASURED_DATA = {
    **DATA,
    'dataroot_gt': Option(Path(), NEEDED, DATA['dataroot_gt'].about, hint=(
        '; images without gt are enlarged by type: SingleImageDataset, with io_backend: {type: disk}')),
}
TRAIN_DATA = {
    **DATA,
    'gt_size': Option(Whole(1), NEEDED, 'Side of the crops of gt in pixels, a multiple of scale.'),
    'use_hflip': Option(Switch(), True, 'Mirror crops left and right at random.'),
    'use_rot': Option(Switch(), True, 'Mirror crops up and down, and transpose them, at random.'),
    'use_shuffle': Option(Switch(), True, 'Draw images at random; otherwise in their order.'),
    'batch_size_per_gpu': Option(Whole(1), NEEDED, 'Crops in a batch of one process.'),
    'num_worker_per_gpu': Option(Whole(0), NEEDED, 'Processes that read for one training process; 0: itself.'),
    'persistent_workers': Option(Switch(), False, 'Keep these processes when they have read everything.'),
    'prefetch_mode': Option(Maybe(Choice(('cpu', 'cuda'))), None,
                            'cpu: a thread keeps batches ready. cuda: as without, for batches from pinned memory are '
                            'copied to the GPU meanwhile in any case.'),
    'num_prefetch_queue': Option(Whole(1, 64), 1, 'Batches that prefetch_mode: cpu holds.'),
}
PAIRED_IMAGE_DATA = {
    'io_backend': Option(TYPED, NEEDED, 'disk or lmdb, as BasicSR reads files.'),
    'meta_info_file': Option(Maybe(Path()), None, 'List of the images.'),
    'filename_tmpl': Option(Template(200), '{}', 'Name of an lq image made of that of its gt image.'),
}
SINGLE_IMAGE_DATA = {
    **{name: DATA[name] for name in ('name', 'type', 'dataroot_lq', 'pin_memory')},
    'io_backend': PAIRED_IMAGE_DATA['io_backend'],
    'meta_info_file': Option(Path(), None, PAIRED_IMAGE_DATA['meta_info_file'].about),
}
UNFIT_DATA = {
    'color': 'gives images of one channel, but networks take RGB; take it out (metrics are on Y by test_y_channel: '
             'true)',
    'mean': 'networks take images in [0, 1], and outputs are compared with gt in it; take it out',
    'std': 'networks take images in [0, 1], and outputs are compared with gt in it; take it out',
}
"""Options of BasicSR's data sets that cannot be right here, and why."""
PAIRED_IMAGE_TRAIN_DATA = {
    **PAIRED_IMAGE_DATA,
    'use_hflip': Option(Switch(), NEEDED, TRAIN_DATA['use_hflip'].about),
    'use_rot': Option(Switch(), NEEDED, TRAIN_DATA['use_rot'].about),
}
NETWORK = {
    'type': Option(Anything('a registered network'), NEEDED, 'The network; the tables below have its arguments.'),
}
PATH = {
    'pretrain_network_g': Option(Maybe(Path()), None, 'Weights that the student starts from, or that a test measures.'),
    'strict_load_g': Option(Switch(), True, 'false: take the weights of equal name and shape alone.'),
    'param_key_g': Option(Maybe(Text(200)), None,
                          'Which weights of the file; ~ is params_ema or another average where there is one, else '
                          'params.'),
    'pretrain_network_t': Option(Maybe(Path()), None,
                                 'Weights of the teacher, needed unless network_t brings its own.'),
    'strict_load_t': Option(Switch(), True, 'As strict_load_g, for the teacher.'),
    'param_key_t': Option(Maybe(Text(200)), None, 'As param_key_g, for the teacher.'),
    'resume_state': Option(Maybe(Path()), None, 'State to go on from; --auto_resume finds the newest one of the run.'),
    'ignore_resume_networks': Option(Maybe(Either((Text(200), ListOf(Text(200), 'names')), 'a name or names')), None,
                                     'For BasicSR\'s own launcher, which needs network_t here.'),
}
CUTS = Either((Whole(1), ListOf(Text(200), 'names of blocks')), 'a whole number of at least 1, or names of blocks')
TRAIN = {
    'total_iter': Option(Iterations(1), NEEDED, 'Steps of the training.'),
    'warmup_iter': Option(Iterations(-1), -1, 'Steps in which the learning rate rises from 0; -1 for none.'),
    'optim_g': Option(TYPED, NEEDED, 'The optimizer.'),
    'scheduler': Option(TYPED, NEEDED, 'How the learning rate falls.'),
    'mixer_lr': Option(Number(0, 100), 'that of optim_g',
                       'Learning rate of mixers and of losses that have weights.'),
    'ema_decay': Option(Number(0, 1, below=True), 0, 'Decay of the average of the weights, which is what is '
                                                     'measured; 0: no average.'),
    'cuts_g': Option(CUTS, 3, 'Where losses look into the student: after these blocks, or at the ends of so '
                              'many even stages.'),
    'cuts_t': Option(CUTS, 3, 'The same for the teacher, with as many stages.'),
    'precision': Option(Choice(('auto', 'bf16', 'tf32', 'fp32')), 'auto',
                        'Number format of the heavy layers; auto is bf16 where the hardware has it, else fp32.'),
    'channels_last': Option(Switch(), True, 'Lay maps out pixel by pixel, which most hardware is faster with.'),
    'compile': Option(Switch(), False, 'Compile the blocks of the networks by torch.compile.'),
    'cuda_graphs': Option(Switch(), False, 'Launch a whole step at once; on one GPU.'),
    'accumulate': Option(Whole(1), 1, 'Equal parts that a batch is passed in, for less memory.'),
    'grad_clip': Option(Maybe(Number(0, above=True)), None, 'Largest norm of the gradient.'),
    'nonfinite': Option(Choice(('skip', 'stop')), 'skip',
                        'What happens to a step whose loss or gradient is not finite; 10 of them in a row stop the '
                        'run in any case.'),
    'mixer_opt': Option(BLOCK, None, 'The mixers of the losses that have them; see below.'),
    'pixel_opt': Option(TYPED, None, 'Loss of the student\'s image against gt, any image loss of BasicSR.'),
    'kd_opt': Option(TYPED, None, 'Loss of the student\'s image against the teacher\'s.'),
    'perceptual_opt': Option(TYPED, None, 'BasicSR\'s perceptual loss of the student\'s image against gt.'),
    'feature_prior_opt': Option(TYPED, None, 'MiPKD\'s loss on mixed maps.'),
    'block_prior_opt': Option(TYPED, None, 'MiPKD\'s loss on mixed blocks.'),
}
SCHEDULE = {
    'type': Option(Choice(TYPES), WeightSchedule.type, 'linear, or cosine for half a wave, between start and end; '
                                                       'constant is start_factor until end, then end_factor.'),
    'start': Option(Number(0), WeightSchedule.start, 'Iteration or, up to 1, share of total_iter until which the '
                                                     'factor is start_factor.'),
    'end': Option(Number(0), WeightSchedule.end, 'The same, from which on it is end_factor.'),
    'start_factor': Option(Number(0), WeightSchedule.start_factor, 'What loss_weight is multiplied by at first.'),
    'end_factor': Option(Number(0), WeightSchedule.end_factor, 'What it is multiplied by in the end. At 0 the loss is '
                                                               'not computed.'),
}
VAL = {
    'val_freq': Option(Iterations(1), NEEDED, 'Steps between two validations.', tests=()),
    'save_img': Option(Switch(), False, 'Save the outputs.'),
    'suffix': Option(Maybe(Name()), None, 'What the names of saved images end in; ~ is the name of the test.'),
    'pbar': Option(Maybe(Switch()), None, 'Show a progress bar; ~ shows it on a terminal.'),
    'metrics': Option(Maybe(BLOCK), None, 'What is measured: metrics by names of your own.'),
    'self_ensemble': Option(Switch(), False, 'Take the mean over the 8 flips and turns.'),
    'tile': Option(Maybe(Whole(1)), None, 'Cut images into tiles of that side in lq pixels.'),
    'tile_pad': Option(Maybe(Whole(0)), 16, 'Pixels of lq that a tile sees beyond its edge.'),
    'check_teacher': Option(Switch(), True, 'Measure the teacher once before training, and report one that is worse '
                                            'than bicubic.'),
}
METRIC = {
    'type': Option(Anything('calculate_psnr, calculate_ssim, or another metric of BasicSR'), NEEDED, 'The metric.'),
    'crop_border': Option(Whole(0), NEEDED, 'Pixels at each edge that are left out; usually scale.'),
    'test_y_channel': Option(Switch(), False, 'Measure on Y of YCbCr, as papers do, instead of on RGB.'),
    'better': Option(Choice(('higher', 'lower')), 'higher', 'Which values are better.'),
}
LOGGER = {
    'print_freq': Option(Iterations(1), NEEDED, 'Steps between two lines of losses in the log.'),
    'save_checkpoint_freq': Option(Iterations(1), NEEDED, 'Steps between two savings of weights and state.'),
    'keep_states': Option(Whole(1), 3, 'Newest training states that are kept.'),
    'gradients': Option(Maybe(Iterations(1)), None, 'Steps between two measurements of each loss\'s gradient at the '
                                                    'student, its norm and its cosine with that of the pixel loss; '
                                                    'written to gradients.csv. ~: none.'),
    'use_tb_logger': Option(Switch(), False, 'Write a log for TensorBoard, in tb_logger.'),
    'wandb': Option(BLOCK, None, 'Send that log to Weights & Biases.'),
}
WANDB = {
    'project': Option(Maybe(Text(200)), None, 'Project there; ~ sends nothing. Needs use_tb_logger.'),
    'resume_id': Option(Maybe(Text(200)), None, 'Run there that is gone on with.'),
}
DIST = {
    'backend': Option(Choice(('auto', 'nccl', 'gloo')), 'auto', 'auto: nccl on GPUs, gloo on CPUs.'),
    'port': Option(Whole(1, 65535), 29500, 'Port of the first process, for SLURM alone.'),
}
RATE = Number(0, 100)
SHARE = Number(0, 1, below=True)
OPTIMIZER = {
    'type': Option(Anything('Adam, AdamW, Adamax, NAdam, RAdam, RMSprop or SGD'), NEEDED, 'The optimizer of PyTorch.'),
    'lr': Option(RATE, NEEDED, 'Learning rate.'),
    'weight_decay': Option(Number(0), 'PyTorch\'s', 'Decay of the weights.'),
    'betas': Option(ListOf(SHARE, 'two numbers of at least 0 and below 1', count=2), 'PyTorch\'s',
                    'Decays of the averages of gradient and square; Adam and its kin.'),
    'eps': Option(Number(0), 'PyTorch\'s', 'Added to what is divided by; all but SGD.'),
    'momentum': Option(SHARE, 'PyTorch\'s', 'Decay of the average of the gradient; SGD and RMSprop.'),
    'amsgrad': Option(Switch(), 'PyTorch\'s', 'Divide by the largest square so far; Adam and AdamW.'),
    'nesterov': Option(Switch(), 'PyTorch\'s', 'Nesterov\'s momentum; SGD.'),
    'alpha': Option(SHARE, 'PyTorch\'s', 'Decay of the average of squares; RMSprop.'),
    'fused': Option(Maybe(Switch()), True, 'Go through the weights in one pass.'),
    'foreach': Option(Maybe(Switch()), None, 'Go through the weights by lists; not together with fused.'),
}
WEIGHTS = ListOf(Number(0), 'a list of numbers of at least 0', least=1)
STEPS = {
    'milestones': Option(ListOf(Iterations(1), 'a list of whole numbers', ascending=True), NEEDED,
                         'Steps at which the rate falls.'),
    'gamma': Option(Number(0, 1, above=True), 0.1, 'Factor by which it falls.'),
    'restarts': Option(ListOf(Iterations(0), 'a list of whole numbers', ascending=True), [0],
                       'Steps at which the rate is that of the start again, times its weight.'),
    'restart_weights': Option(WEIGHTS, [1], 'Weights of the restarts, as many as there are.'),
}
SCHEDULERS = {
    'MultiStepLR': STEPS,
    'MultiStepRestartLR': STEPS,
    'CosineAnnealingRestartLR': {
        'periods': Option(ListOf(Iterations(1), 'a list of whole numbers of at least 1', least=1), NEEDED,
                          'Steps of each half wave of a cosine; together at least total_iter.'),
        'restart_weights': Option(WEIGHTS, [1], 'Weights of the periods, as many as there are.'),
        'eta_min': Option(RATE, 0, 'Lowest rate.'),
    },
}
BLOCKS = {'': TOP, 'table': TABLE, 'path': PATH, 'train': TRAIN, 'val': VAL, 'logger': LOGGER, 'logger.wandb': WANDB,
          'dist_params': DIST}
"""The blocks whose options are all known, by their paths."""

GONE = {
    'find_unused_parameters': 'every distributed run finds by itself which weights a step leaves out',
    'datasets.train.dataset_enlarge_ratio': 'samples are one endless sequence, without epochs',
    'datasets.train.use_flip': 'flips are use_hflip, and those up and down and turns use_rot',
    **{f'datasets.{phase}.{name}': why for phase in ('train', 'val') for name, why in (
        ('io_backend', 'PairedSRDataset sees by itself whether a path is a folder or an LMDB'),
        ('meta_info_file', 'PairedSRDataset takes all images of the folders'),
        ('filename_tmpl', 'PairedSRDataset finds lq images by the name of gt, with or without x and scale behind'),
        ('phase', 'the name of the block says it'))},
    'val.window_size': 'images are padded by what the network needs in any case',
}
"""Options of BasicSR that nothing reads, and why."""


def why_gone(path):
    """Why nothing reads an option of BasicSR, None for any other; what holds of ``val`` does of all like it."""
    return GONE.get(path) or GONE.get(re.sub(r'^datasets\.(val|test)(_[^.]*)?\.', 'datasets.val.', path))
