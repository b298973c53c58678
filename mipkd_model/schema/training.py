"""The block ``train`` and those inside of it."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mipkd_arch.base.option_types import (
    MAX_ITERATIONS,
    Block,
    Count,
    Decay,
    Doc,
    Iterations,
    Mapped,
    NonNegative,
    SelectedBlocks,
    Text,
)

ANY_LOSS = '<name>_opt'
IMAGE_LOSSES = ('pixel_opt', 'kd_opt', 'perceptual_opt')
"""Losses of two images, of BasicSR's types; all others are ``DistillLoss``."""
NAMED_LOSSES = {
    'pixel_opt': 'Loss of the student\'s image against gt, any image loss of BasicSR.',
    'kd_opt': 'Loss of the student\'s image against the teacher\'s.',
    'perceptual_opt': 'BasicSR\'s perceptual loss of the student\'s image against gt.',
    'feature_prior_opt': 'MiPKD\'s loss on mixed features.',
    'block_prior_opt': 'MiPKD\'s loss on mixed blocks.',
}
"""Losses that have a meaning of their own by their names."""
PYTORCHS: Any = None
"""Default of an argument that is left to PyTorch; null itself is not allowed there."""
OfPyTorch = Doc(default='PyTorch\'s')
Rate = Annotated[float, Field(ge=0, le=100)]
Cuts = Annotated[Count | list[Text], Doc('an integer of at least 1, or a list of names of blocks')]


class LoopOptions(Block):
    """What BasicSR's pipeline reads of ``train``, whatever the model."""
    total_iter: Iterations = Field(description='Iterations of the training.')
    warmup_iter: Annotated[int, Field(ge=-1, le=MAX_ITERATIONS)] = Field(
        -1, description='Iterations of warm-up, in which the learning rate rises from 0; -1: none.')


class TrainOptions(LoopOptions):
    """``train``. ``losses`` has the blocks ``*_opt`` but for ``mixer_opt``, by their names as in the file."""
    refused = {'cuda_graphs': 'support of CUDA graphs was removed'}
    optim_g: Mapped = Field(description='The optimizer.')
    scheduler: Mapped = Field(description='The learning rate scheduler.')
    weight_selection: SelectedBlocks | None = Field(
        None, description='Weight selection: initial weights of the student out of those of a teacher of the same '
                          'family, the first channels of each layer, and the first or evenly spaced blocks. null: '
                          'random ones, or path.pretrain_network_g.')
    mixer_lr: Annotated[Rate | None, Doc(default='that of optim_g')] = Field(
        None, description='Learning rate of mixers and of losses that have weights.')
    ema_decay: Decay = Field(
        0, description='Decay of the exponential moving average (EMA) of the weights, which is what is measured; 0: '
                       'no average.')
    cuts_g: Cuts = Field(3, description='Where losses take the student\'s features: after these blocks, or at the '
                                        'ends of so many even stages.')
    cuts_t: Cuts = Field(3, description='The same for the teacher, with as many stages.')
    precision: Literal['auto', 'timed', 'bf16', 'tf32', 'fp32'] = Field(
        'auto', description='Mixed precision: number format of convolutions and matrix products. auto: bf16 '
                            '(autocast) where the hardware has it, else fp32; timed: each network in what is faster of '
                            'both when the training starts; tf32: GPUs only.')
    channels_last: bool | Literal['timed'] = Field(
        True, description='Channels-last memory format of features, which is faster for most networks. timed: each '
                          'network in what is faster when the training starts.')
    compile: bool = Field(False, description='Compile the blocks of the networks by torch.compile.')
    accumulate: Count = Field(
        1, description='Gradient accumulation: equal parts of a batch that are passed one after the other, for less '
                       'memory.')
    grad_clip: Annotated[float, Field(gt=0)] | None = Field(
        None, description='Gradient clipping: largest L2 norm of the gradient.')
    nonfinite: Literal['skip', 'stop'] = Field(
        'skip', description='What happens at an iteration whose loss or gradient is not finite (NaN); 10 of them in a '
                            'row stop the run in any case.')
    mixer_opt: Mapped | None = Field(None, description='The mixers of the losses that have them; see below.')
    losses: dict[str, Any] = Field(default_factory=dict, alias='<name>_opt', description='Any other loss; see below.')

    @model_validator(mode='before')
    @classmethod
    def _gather_losses(cls, block: Any) -> Any:
        if not isinstance(block, Mapping):
            return block
        losses = {name: value for name, value in block.items() if is_loss(name)}
        return {**{name: value for name, value in block.items() if name not in losses}, ANY_LOSS: losses}


def is_loss(name: str) -> bool:
    """Whether an option of ``train`` is the block of a loss."""
    return name.endswith('_opt') and name not in ('mixer_opt', ANY_LOSS)


def active_losses(train: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Blocks of the losses that take part, by their names with ``_opt``; weight 0 leaves one out."""
    return {key: block for key, block in train.items()
            if is_loss(key) and isinstance(block, dict) and block.get('loss_weight') != 0}


class OptimizerOptions(Block):
    """``train.optim_g``; other arguments are those of the optimizer's class in PyTorch."""
    model_config = {'extra': 'allow'}
    type: Literal['Adam', 'AdamW', 'Adamax', 'NAdam', 'RAdam', 'RMSprop', 'SGD'] = Field(
        description='The optimizer of PyTorch.')
    lr: Rate = Field(description='Learning rate.')
    weight_decay: Annotated[NonNegative, OfPyTorch] = Field(PYTORCHS, description='Weight decay.')
    betas: Annotated[list[Decay], Doc('two numbers of at least 0 and below 1', 'PyTorch\'s')] = Field(
        PYTORCHS, min_length=2, max_length=2,
        description='Decays of the averages of gradient and square; Adam and its kin.')
    momentum: Annotated[Decay, OfPyTorch] = Field(PYTORCHS, description='Momentum; SGD and RMSprop.')
    fused: bool | None = Field(True, description='Fused kernels: all weights in one pass.')
    foreach: bool | None = Field(None, description='Update weights list by list; not together with fused.')


Weights = list[NonNegative]


class StepsSchedulerOptions(Block):
    """``train.scheduler`` of type MultiStepLR or MultiStepRestartLR."""
    type: Literal['MultiStepLR', 'MultiStepRestartLR'] = Field(description='The scheduler.')
    milestones: list[Iterations] = Field(description='Iterations at which the learning rate falls.')
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description='Factor by which it falls.')
    restarts: list[Annotated[int, Field(ge=0)]] = Field(
        [0], description='Iterations at which the learning rate starts again, times its weight.')
    restart_weights: Weights = Field([1], min_length=1, description='Weights of the restarts, as many as there are.')


class CosineSchedulerOptions(Block):
    """``train.scheduler`` of type CosineAnnealingRestartLR."""
    type: Literal['CosineAnnealingRestartLR'] = Field(description='The scheduler.')
    periods: list[Iterations] = Field(
        min_length=1, description='Iterations of each half wave of a cosine; together at least total_iter.')
    restart_weights: Weights = Field([1], min_length=1, description='Weights of the periods, as many as there are.')
    eta_min: Rate = Field(0, description='Lowest learning rate.')


SCHEDULERS: dict[str, type[Block]] = {
    'MultiStepLR': StepsSchedulerOptions, 'MultiStepRestartLR': StepsSchedulerOptions,
    'CosineAnnealingRestartLR': CosineSchedulerOptions}


class ScheduleOptions(Block):
    """``train.<name>_opt.schedule``: a factor of ``loss_weight`` over the training."""
    type: Literal['constant', 'linear', 'cosine'] = Field(
        'cosine', description='linear, or cosine for half a wave, between start and end; constant: start_factor until '
                              'end, then end_factor.')
    start: NonNegative = Field(
        0, description='Iteration or, up to 1, share of total_iter until which the factor is start_factor.')
    end: NonNegative = Field(1.0, description='The same, from which on it is end_factor.')
    start_factor: NonNegative = Field(1.0, description='Factor of loss_weight at first.')
    end_factor: NonNegative = Field(0.0, description='Factor in the end. At 0 the loss is not computed.')
