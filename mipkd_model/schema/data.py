"""The blocks of ``datasets``, one model for each kind of dataset."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mipkd_arch.base.option_types import Block, Count, Doc, FileName, FilePath, Mapped, Text


class DatasetOptions(Block):
    """What all datasets have."""
    refused = {
        'dataset_enlarge_ratio': 'samples are one endless sequence, without epochs',
        'use_flip': 'flips are use_hflip, and those up and down and transposes use_rot',
        'io_backend': 'PairedSRDataset sees by itself whether a path is a folder or an LMDB',
        'meta_info_file': 'PairedSRDataset takes all images of the folders',
        'filename_tmpl': 'PairedSRDataset finds lq images by the name of gt, with or without x and scale behind',
        'phase': 'it follows from the name of the block',
        'color': 'it gives images of one channel, but networks take RGB (metrics are on Y by test_y_channel: true)',
        **dict.fromkeys(('mean', 'std'), 'networks take images in [0, 1], and outputs are compared with gt in it'),
    }
    name: FileName = Field(description='Name of the dataset; each that is measured has its own.')
    type: Annotated[Any, Doc('PairedSRDataset or a dataset of BasicSR')] = Field(description='Class that reads it.')
    pin_memory: bool = Field(False, description='Keep batches in pinned memory, for faster copies to a GPU.')


class PairedOptions(DatasetOptions):
    """What datasets of pairs have."""
    dataroot_gt: FilePath = Field(description='Folder of images, or an LMDB (*.lmdb).')
    dataroot_lq: FilePath = Field(
        description='The same images, smaller by scale; at scale 1 those to be restored.')


class LoaderOptions(Block):
    """How BasicSR's pipeline loads a dataset of training."""
    use_shuffle: bool = Field(True, description='Draw images at random; otherwise in their order.')
    batch_size_per_gpu: Count = Field(description='Crops in the batch of one process.')
    num_worker_per_gpu: Annotated[int, Field(ge=0)] = Field(
        description='Worker processes that load for one training process; 0: itself.')
    persistent_workers: bool = Field(False, description='Keep workers between passes over the data.')
    prefetch_mode: Literal['cpu', 'cuda'] | None = Field(
        None, description='cpu: a thread keeps batches ready. cuda is accepted, and the same as null: batches from '
                          'pinned memory are copied to the GPU ahead in any case.')
    num_prefetch_queue: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description='Batches that prefetch_mode: cpu keeps.')


class PairedSRTrainOptions(LoaderOptions, PairedOptions):
    """``datasets.train`` of type PairedSRDataset."""
    gt_size: Count = Field(description='Side of the crops of gt in pixels, a multiple of scale.')
    use_hflip: bool = Field(True, description='Augmentation: flip crops horizontally at random.')
    use_rot: bool = Field(True, description='Augmentation: flip crops vertically and transpose them, at random.')


class PairedSRMeasuredOptions(PairedOptions):
    """``datasets.val`` and its like of type PairedSRDataset."""
    dataroot_gt: Annotated[FilePath, Doc(
        'a path (for images without gt set type: SingleImageDataset, with io_backend: {type: disk})')] = Field(
        description='Folder of images, or an LMDB (*.lmdb).')


class _FileOptions(Block):
    """How BasicSR's datasets read files."""
    io_backend: Mapped = Field(description='disk or lmdb, as BasicSR reads files.')
    meta_info_file: FilePath | None = Field(None, description='List of the images.')


class PairedImageOptions(_FileOptions, PairedOptions):
    """BasicSR's PairedImageDataset."""
    filename_tmpl: Text = Field('{}', description='Name of an lq image, made of that of its gt image.')


class PairedImageTrainOptions(PairedImageOptions, PairedSRTrainOptions):
    """BasicSR's PairedImageDataset in ``datasets.train``."""


class SingleImageOptions(_FileOptions, DatasetOptions):
    """BasicSR's SingleImageDataset."""
    dataroot_lq: FilePath = Field(description='Folder of images, or an LMDB (*.lmdb).')


class OtherOptions(DatasetOptions):
    """What BasicSR's pipeline reads of any other dataset, which has options of its own besides."""
    model_config = {'extra': 'allow'}
    dataroot_gt: FilePath | None = Field(None, description='Folder of images, or an LMDB (*.lmdb).')
    dataroot_lq: FilePath | None = Field(None, description='Folder of images, or an LMDB (*.lmdb).')


class OtherTrainOptions(LoaderOptions, OtherOptions):
    """The same in ``datasets.train``."""


def dataset_options(kind: str, is_training: bool, is_mipkd: bool) -> type[Block]:
    """The options of a dataset of that ``type``, in ``datasets.train`` or not, for MiPKDModel or another model."""
    known: dict[str, tuple[type[Block], type[Block]]] = {
        'PairedSRDataset': (PairedSRTrainOptions, PairedSRMeasuredOptions)}
    if is_mipkd:
        known['PairedImageDataset'] = PairedImageTrainOptions, PairedImageOptions
        known['SingleImageDataset'] = OtherTrainOptions, SingleImageOptions
    return known.get(kind, (OtherTrainOptions, OtherOptions))[0 if is_training else 1]
