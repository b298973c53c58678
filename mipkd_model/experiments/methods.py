"""The methods that are compared, and variants of MiPKD.

A method is the losses that its option file has in ``train``, and the mixers where a loss needs them; nothing else.
"""
import re

from mipkd_arch.base.errors import UserError, near_miss

PIXEL = '''\
pixel_opt:             # student against ground truth
  type: L1Loss
  loss_weight: 1.0
  reduction: mean
'''
KD = '''\
kd_opt:                # student against teacher
  type: L1Loss
  loss_weight: 1.0
  reduction: mean
'''
FITNET = '''\
fitnet_opt:            # student's maps, taken to the teacher's width, against the teacher's
  type: FitNetLoss
  loss_weight: 0.1
  variant: regressor   # regressor, channel_mean
  criterion: l1        # l1, mse
'''
FITNET_MEAN = '''\
fitnet_opt:            # mean of the student's maps over channels against that of the teacher's
  type: FitNetLoss
  loss_weight: 0.1
  variant: channel_mean  # regressor, channel_mean
  criterion: l1        # l1, mse
'''
AT = '''\
at_opt:                # attention maps: the energy of the maps at each pixel
  type: ATLoss
  loss_weight: 10
  criterion: l1        # l1, mse
'''
RKD = '''\
rkd_opt:               # relations between the samples of a batch
  type: RKDLoss
  loss_weight: 1
  distance_weight: 25
  angle_weight: 50
'''
FAKD = '''\
fakd_opt:              # affinities between the pixels of the maps
  type: FAKDLoss
  loss_weight: 10
'''
CSD = '''\
csd_opt:               # nearer to the teacher than to bicubic images, as VGG19 sees them
  type: CSDLoss
  loss_weight: 0.784
  weights: experiments/pretrained_models/vgg19-dcbb9e9d.pth
  num_negatives: 10
'''
CROSSKD = '''\
crosskd_opt:           # the student's early stages go on through the teacher's later ones
  type: CrossKDLoss
  loss_weight: 1
  position: ~          # number of the position where the student's map goes over; ~ is the middle one
'''
DUKD = '''\
dukd_opt:              # the teacher labels more inputs than there are pairs
  type: DUKDLoss
  loss_weight: 1
  zoom_in: true        # HR crops of the size of lq
  zoom_out: true       # lq, shrunk
  consistency: true    # the student's input is changed and its output changed back
  consistency_prob: 0.3
'''
FEATURE_PRIOR = '''\
feature_prior_opt:     # maps decoded from the mixture against the teacher's maps
  type: FeaturePriorLoss
  loss_weight: 1.0
  normalize: std       # what distances are divided by: std (of the features), none, or a number
  autoencoder_weight: 1.0
  autoencoder_of: teacher  # whose maps are encoded and decoded: teacher, both
  autoencoder_trains_student: false  # or the mixers alone
  schedule:            # of loss_weight: from all of it to none at half of the training
    type: cosine       # constant, linear, cosine
    end: 0.5           # an iteration or, up to 1, a share of total_iter
'''
BLOCK_PRIOR = '''\
block_prior_opt:       # output of a stack of teacher and student stages against the teacher's
  type: BlockPriorLoss
  loss_weight: 0.1
  assembly: chain      # chain, restart
  student_prob: 0.5
  recompute: false     # run the teacher's stages again on the way back, for less memory
'''
MIXER_OPT = '''\
mixer_opt:             # encoders and decoders of each position
  latent: ~            # channels of the latent space; ~ is as many as the teacher's maps have
  encoder: separate    # separate, shared, none
  kind: cnn            # cnn, mlp
  depth: 1             # convolutions in each
  mask: random3d       # random3d, grid, similarity
  ratio: 0.5           # share of the student's values
'''

METHODS = {
    'Scratch': (PIXEL, ),
    'Logits-KD': (PIXEL, KD),
    'FitNet': (PIXEL, KD, FITNET),
    'FitNet-mean': (PIXEL, KD, FITNET_MEAN),
    'AT': (PIXEL, KD, AT),
    'RKD': (PIXEL, KD, RKD),
    'FAKD': (PIXEL, KD, FAKD),
    'CSD': (PIXEL, CSD),
    'CrossKD': (PIXEL, CROSSKD),
    'DUKD': (PIXEL, KD, DUKD),
    'MiPKD': (MIXER_OPT, PIXEL, KD, FEATURE_PRIOR, BLOCK_PRIOR),
}
"""Blocks of each method, in the order of the file. Names have no ``_``, which ends them in the name of a run."""


def _varied(block, option, value):
    """MiPKD's blocks with another value of one option of one of them; comments stay in their column."""
    changed = re.sub(rf'(?m)^(  {option}: )(\S+ *)', lambda found: found[1] + str(value).ljust(len(found[2])), block)
    return tuple(changed if text == block else text for text in METHODS['MiPKD'])


VARIANTS = {
    'MiPKD-feature': (MIXER_OPT, PIXEL, KD, FEATURE_PRIOR),
    'MiPKD-block': (MIXER_OPT, PIXEL, KD, BLOCK_PRIOR),
    'MiPKD-encoder-shared': _varied(MIXER_OPT, 'encoder', 'shared'),
    'MiPKD-encoder-none': _varied(MIXER_OPT, 'encoder', 'none'),
    'MiPKD-kind-mlp': _varied(MIXER_OPT, 'kind', 'mlp'),
    'MiPKD-autoencoder-none': _varied(FEATURE_PRIOR, 'autoencoder_weight', 0.0),
    'MiPKD-mask-similarity': _varied(MIXER_OPT, 'mask', 'similarity'),
    'MiPKD-mask-grid': _varied(MIXER_OPT, 'mask', 'grid'),
    'MiPKD-feat-0.1': _varied(FEATURE_PRIOR, 'loss_weight', 0.1),
    'MiPKD-feat-10': _varied(FEATURE_PRIOR, 'loss_weight', 10.0),
    'MiPKD-block-0.01': _varied(BLOCK_PRIOR, 'loss_weight', 0.01),
    'MiPKD-block-1': _varied(BLOCK_PRIOR, 'loss_weight', 1.0),
}
"""What the ablations compare with MiPKD: blocks of each variant, as in ``METHODS``."""

TEACHER = 'Teacher'
"""The method of a network that is measured as it is, beside the trained ones; it has no blocks."""

STAGED = {'feature_prior_opt', 'block_prior_opt', 'fitnet_opt', 'at_opt', 'rkd_opt', 'fakd_opt', 'crosskd_opt'}
"""Names of the blocks that look at maps between the stages."""


def blocks_of(method):
    """The blocks of a method, or of several joined by ``+``: those of the first, then what the next ones add.

    Returns:
        dict[str, str]: their texts by name, such as ``kd_opt``, in the order of the file.

    Raises:
        UserError: a method that is not known, not trained or named twice, or two that set one block differently.
    """
    blocks, parts, known = {}, method.split('+'), {**METHODS, **VARIANTS}
    if TEACHER in parts:
        raise UserError(f'METHOD: {method!r} is not trained; the file that measures a teacher is written by METHOD '
                        f'{TEACHER}, alone, with --test')
    for part in parts:
        if part not in known:
            raise UserError(f'METHOD: {part!r} is not known{near_miss(part, [*known, TEACHER])}; allowed are '
                            f'{", ".join(map(repr, METHODS))}, {TEACHER!r} with --test, and variants of MiPKD (mipkd '
                            'options --list)')
        if parts.count(part) > 1:
            raise UserError(f'METHOD: {method!r} names {part} twice; once is enough')
        for text in known[part]:
            name = text.partition(':')[0]
            if blocks.setdefault(name, text) != text:
                raise UserError(f'METHOD: {method!r} gives {name} twice, with different options; take one of them')
    return blocks
