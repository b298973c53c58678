"""Every option of option files: type, range, default and meaning, once; checks and ``docs/options.md`` are made of it.

Blocks are pydantic models. ``XOptions.read(block)`` reads one at any time of a run: it accepts what BasicSR's pipeline
has added, but for ``type``, which BasicSR removes from ``train.scheduler`` when it builds that. ``find_errors`` lists
the mistakes of a block of an option file. Rules between blocks are in ``config.rules``.
"""
from mipkd_arch.base.option_types import Block, describe, find_errors

from .data import PairedSRMeasuredOptions, PairedSRTrainOptions
from .options import (
    DistOptions,
    LoggerOptions,
    MetricOptions,
    PathOptions,
    TableOptions,
    TestFile,
    TrainingFile,
    ValidationOptions,
    ValOptions,
    WandbOptions,
)
from .training import OptimizerOptions, ScheduleOptions, TrainOptions

__all__ = ['Block', 'DistOptions', 'LoggerOptions', 'MetricOptions', 'OptimizerOptions', 'PairedSRMeasuredOptions',
           'PairedSRTrainOptions', 'PathOptions', 'ScheduleOptions', 'TableOptions', 'TestFile', 'TrainOptions',
           'TrainingFile', 'ValOptions', 'ValidationOptions', 'WandbOptions', 'describe', 'find_errors']
