"""The methods that are compared, and the variants of MiPKD that its ablations compare.

A method is the losses that its option file has in ``train``, and the mixers where a loss needs them; nothing else.
"""
from typing import Any

from mipkd_arch.base.errors import UserError, near_miss

Blocks = dict[str, Any]
"""Options of ``train`` by their names: blocks of losses, such as ``kd_opt``, and what else a method sets."""

PIXEL: Blocks = {'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'}}
KD: Blocks = {**PIXEL, 'kd_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'}}
FALLING = {'schedule': {'type': 'cosine', 'end': 0.5}}
FITNET = {'type': 'FitNetLoss', 'loss_weight': 1.0, 'variant': 'regressor', 'criterion': 'l1', **FALLING}
AT = {'type': 'ATLoss', 'loss_weight': 10.0, 'criterion': 'l1', **FALLING}
RKD = {'type': 'RKDLoss', 'loss_weight': 0.01, 'distance_weight': 25, 'angle_weight': 50, **FALLING}
FAKD = {'type': 'FAKDLoss', 'loss_weight': 1.0, **FALLING}
CSD = {'type': 'CSDLoss', 'loss_weight': 0.784, 'weights': 'experiments/pretrained_models/vgg19-dcbb9e9d.pth',
       'num_negatives': 10}
CROSSKD = {'type': 'CrossKDLoss', 'loss_weight': 10.0, 'position': None, **FALLING}
DUKD = {'type': 'DUKDLoss', 'loss_weight': 1.0, 'zoom_in': True, 'zoom_out': True, 'consistency': True,
        'consistency_prob': 0.3, **FALLING}
MTKD: Blocks = {'pixel_opt': {**PIXEL['pixel_opt'], 'loss_weight': 0.1},
                'mtkd_opt': {'type': 'WaveletLoss', 'loss_weight': 1.0, 'levels': 1}}
METAKD = {'type': 'MetaKDLoss', 'loss_weight': 10.0, 'kernels': 4, 'every': 10, 'meta_lr': 0.001, 'inner_lr': 1e-4,
          'second_order': True, **FALLING}
ECO: Blocks = {
    'pixel_opt': {**PIXEL['pixel_opt'], 'schedule': {
        'type': 'linear', 'end': 0.5, 'start_factor': 0.0, 'end_factor': 1.0}},
    'kd_opt': {**KD['kd_opt'], 'schedule': {'type': 'linear', 'end': 0.5}}}
MIXERS: Blocks = {'mixer_opt': {
    'latent': None, 'encoder': 'separate', 'kind': 'cnn', 'depth': 1, 'mask': 'random3d', 'ratio': 0.5}}
FEATURE_PRIOR: Blocks = {'feature_prior_opt': {
    'type': 'FeaturePriorLoss', 'loss_weight': 1.0, 'normalize': 'std', 'autoencoder_weight': 1.0,
    'autoencoder_of': 'teacher', 'autoencoder_trains_student': False, **FALLING}}
BLOCK_PRIOR: Blocks = {'block_prior_opt': {
    'type': 'BlockPriorLoss', 'loss_weight': 0.1, 'assembly': 'chain', 'student_prob': 0.5, 'recompute': False}}
MIPKD: Blocks = {**MIXERS, **KD, **FEATURE_PRIOR, **BLOCK_PRIOR}

METHODS: dict[str, Blocks] = {
    'Scratch': PIXEL,
    'Logits-KD': KD,
    'FitNet': {**KD, 'fitnet_opt': FITNET},
    'FitNet-mean': {**KD, 'fitnet_opt': {**FITNET, 'variant': 'channel_mean'}},
    'AT': {**KD, 'at_opt': AT},
    'RKD': {**KD, 'rkd_opt': RKD},
    'FAKD': {**KD, 'fakd_opt': FAKD},
    'CSD': {**PIXEL, 'csd_opt': CSD},
    'CrossKD': {**PIXEL, 'crosskd_opt': CROSSKD},
    'DUKD': {**KD, 'dukd_opt': DUKD},
    'ECO': ECO,
    'MTKD': MTKD,
    'Meta-KD': {**KD, 'metakd_opt': METAKD},
    'Weight-selection': {**PIXEL, 'weight_selection': 'uniform'},
    'MiPKD': MIPKD,
}
"""Blocks of each method, in the order of the file. Names have no ``_``, which ends them in the name of a run."""

COMMENTS = {
    'weight_selection': "initial weights out of the teacher's: first channels; blocks: uniform, first",
    'pixel_opt': 'student against ground truth',
    'pixel_opt.schedule': 'of loss_weight: the target moves from the teacher to the ground truth',
    'kd_opt': 'student against teacher',
    'fitnet_opt': "the student's features against the teacher's",
    'fitnet_opt.variant': "regressor, by which they get the teacher's width; channel_mean",
    'fitnet_opt.criterion': 'l1, mse',
    'at_opt': 'attention maps: the energy of the features at each pixel',
    'at_opt.criterion': 'l1, mse',
    'rkd_opt': 'relations between the samples of a batch',
    'fakd_opt': 'affinities between the pixels of the features',
    'csd_opt': 'nearer to the teacher than to bicubic images, in the features of VGG19',
    'crosskd_opt': "the student's features continue through the teacher's later stages",
    'crosskd_opt.position': 'number of the position where they do; ~ is the middle one',
    'dukd_opt': 'the teacher labels more inputs than there are pairs',
    'dukd_opt.zoom_in': 'HR crops of the size of lq',
    'dukd_opt.zoom_out': 'lq, downsampled',
    'dukd_opt.consistency': "an invertible augmentation of the student's input, undone in its output",
    'mtkd_opt': "wavelet coefficients of the student's image against those of the teachers' aggregated image",
    'mtkd_opt.levels': 'how often the transform is repeated on its low band',
    'metakd_opt': 'features, by networks (KRNets) that learn what to compare from how much it helps',
    'metakd_opt.kernels': 'textures that are told apart in each sample',
    'metakd_opt.every': 'iterations from one step of the KRNets to the next',
    'metakd_opt.meta_lr': 'learning rate of the KRNets',
    'metakd_opt.inner_lr': "length of the student's virtual step",
    'metakd_opt.second_order': 'exact meta-gradient, or by a difference of first-order gradients',
    'mixer_opt': 'encoders and decoders of each position',
    'mixer_opt.latent': "channels of the latent space; ~ is as many as the teacher's features have",
    'mixer_opt.encoder': 'separate, shared, none',
    'mixer_opt.kind': 'cnn, mlp',
    'mixer_opt.depth': 'convolutions in each',
    'mixer_opt.mask': 'random3d, grid, similarity',
    'mixer_opt.ratio': "fraction of the student's values",
    'feature_prior_opt': "features decoded from the mixture against the teacher's",
    'feature_prior_opt.normalize': 'what distances are divided by: std (of the features), none, or a number',
    'feature_prior_opt.autoencoder_of': 'whose features are encoded and decoded: teacher, both',
    'feature_prior_opt.autoencoder_trains_student': 'or only the mixers',
    'block_prior_opt': "output of a stack of teacher and student stages against the teacher's",
    'block_prior_opt.assembly': 'chain, restart',
    'block_prior_opt.recompute': "activation checkpointing of the teacher's stages, for less memory",
    **{f'{name}.schedule{option}': comment
       for name in ('fitnet_opt', 'at_opt', 'rkd_opt', 'fakd_opt', 'crosskd_opt', 'dukd_opt', 'metakd_opt',
                    'feature_prior_opt')
       for option, comment in (('', 'of loss_weight: from all of it to none at half of the training'),
                               ('.type', 'constant, linear, cosine'),
                               ('.end', 'an iteration or, up to 1, a fraction of total_iter'))},
}
"""What option files say of these blocks, by their path below ``train``."""


def _mipkd_with(block: str, **changes: Any) -> Blocks:
    return {**MIPKD, block: {**MIPKD[block], **changes}}


VARIANTS: dict[str, Blocks] = {
    'MiPKD-feature': {**MIXERS, **KD, **FEATURE_PRIOR},
    'MiPKD-block': {**MIXERS, **KD, **BLOCK_PRIOR},
    'MiPKD-encoder-shared': _mipkd_with('mixer_opt', encoder='shared'),
    'MiPKD-encoder-none': _mipkd_with('mixer_opt', encoder='none'),
    'MiPKD-kind-mlp': _mipkd_with('mixer_opt', kind='mlp'),
    'MiPKD-autoencoder-none': _mipkd_with('feature_prior_opt', autoencoder_weight=0.0),
    'MiPKD-mask-similarity': _mipkd_with('mixer_opt', mask='similarity'),
    'MiPKD-mask-grid': _mipkd_with('mixer_opt', mask='grid'),
    'MiPKD-feat-0.1': _mipkd_with('feature_prior_opt', loss_weight=0.1),
    'MiPKD-feat-10': _mipkd_with('feature_prior_opt', loss_weight=10.0),
    'MiPKD-block-0.01': _mipkd_with('block_prior_opt', loss_weight=0.01),
    'MiPKD-block-1': _mipkd_with('block_prior_opt', loss_weight=1.0),
}
"""What the ablations compare with MiPKD: blocks of each variant, as in ``METHODS``."""

AGGREGATION = 'MTKD-aggregation'
"""The method that trains what makes one image of those of several teachers, without a student: MTKD's first stage."""

TEACHER = 'Teacher'
"""The method of a network that is measured as it is and not trained; it has no blocks."""

FEATURE_LOSSES = {'feature_prior_opt', 'block_prior_opt', 'fitnet_opt', 'at_opt', 'rkd_opt', 'fakd_opt', 'crosskd_opt',
                  'metakd_opt'}
"""Names of the blocks whose losses take features at the ends of stages."""


def blocks_of(method: str) -> Blocks:
    """The blocks of a method, or of several joined by ``+``: those of the first, then what the next ones add.

    The pixel loss has the weight of the first.

    Raises:
        UserError: a method that is not known, not trained or named twice, or two that set one block differently.
    """
    blocks: Blocks = {}
    if method == AGGREGATION:
        return PIXEL
    parts, known = method.split('+'), {**METHODS, **VARIANTS}
    for part in parts:
        if part == TEACHER:
            raise UserError(f'METHOD: {method!r} is not trained; the option file that measures a teacher is written '
                            f'by METHOD {TEACHER} with --test')
        if part not in known:
            near = near_miss(part, [*known, AGGREGATION, TEACHER])
            raise UserError(f'METHOD: {part!r} is not known{near}; allowed are {", ".join(map(repr, METHODS))}, '
                            f'{AGGREGATION!r}, {TEACHER!r} with --test, and variants of MiPKD (mipkd options list)')
        for name, block in known[part].items():
            if name == 'pixel_opt':
                block = {**block, 'loss_weight': blocks.get(name, block)['loss_weight']}
            if blocks.setdefault(name, block) != block or parts.count(part) > 1:
                raise UserError(f'METHOD: {method!r} gives {name} twice; take one of them')
    return blocks


def needs_teacher(blocks: Blocks) -> bool:
    """Whether a loss of these blocks compares with a teacher."""
    return blocks.keys() != PIXEL.keys()
