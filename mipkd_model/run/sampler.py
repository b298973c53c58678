"""The order of training samples: one endless, seeded sequence, of which every rank takes its part.

In BasicSR, runs end early, since the loader drops what does not fill a batch, and workers draw the same crops in every
epoch. Here a sample is a function of (seed, position), the training is one epoch of exactly the samples that it needs,
and a resumed run continues at the position where it stopped.
"""
from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from basicsr.data import build_dataloader, build_dataset

from ..base.progress import counted
from ..base.randomness import seed_generators, seed_of
from ..data.paired_dataset import PairedSRDataset, Sample
from .resuming import check_same_samples
from .signals import outlast_signals


class TrainingOrder(Sampler[Sample]):
    """Keys of the samples that one rank reads in iterations ``start_iter`` to ``total_iter``.

    The sequence runs through all images in passes, each shuffled on its own, or in their order without ``shuffle``;
    batches are cut from it without regard to passes. Of each iteration's samples, rank r takes the r-th part, of
    ``batch_size``.
    """

    def __init__(self, num_images: int, batch_size: int, total_iter: int, start_iter: int = 0, seed: int = 0,
                 world_size: int = 1, rank: int = 0, shuffle: bool = True) -> None:
        self.num_images, self.batch_size = num_images, batch_size
        self.total_iter, self.start_iter = total_iter, start_iter
        self.seed, self.world_size, self.rank = seed, world_size, rank
        self.shuffle = shuffle

    def __len__(self) -> int:
        return max(0, self.total_iter - self.start_iter) * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """BasicSR's loop calls this; the whole training is one epoch here."""

    def __iter__(self) -> Iterator[Sample]:
        current = -1
        images: Sequence[int] = ()
        for iteration in range(self.start_iter, self.total_iter):
            first = (iteration * self.world_size + self.rank) * self.batch_size
            for position in range(first, first + self.batch_size):
                number, index = divmod(position, self.num_images)
                if number != current:
                    current, images = number, self._images(number)
                yield Sample(images[index], self.seed, position)

    def _images(self, number: int) -> Sequence[int]:
        if not self.shuffle:
            return range(self.num_images)
        generator = torch.Generator().manual_seed(seed_of('order', self.seed, number))
        return torch.randperm(self.num_images, generator=generator).tolist()


class SeededDataset(Dataset):
    """A dataset that does not know ``Sample``: what it draws at random becomes a function of (seed, position)."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.opt = dataset, dataset.opt

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, sample: Sample) -> Any:
        seed_generators('sample', sample.seed, sample.position)
        return self.dataset[sample.index]


def samples_of(dataset: Any) -> dict[str, Any]:
    """The number of images of a dataset and, if they have names, a hash of these."""
    names = [lq for _, lq in getattr(dataset, 'pairs', ())]
    names += [Path(str(entry['lq_path'])).name for entry in getattr(dataset, 'paths', ())
              if isinstance(entry, dict) and 'lq_path' in entry]  # BasicSR's datasets
    return {'images': len(dataset), 'names': hashlib.sha256('\n'.join(names).encode()).hexdigest() if names else None}


class Prefetcher:
    """In place of BasicSR's ``CPUPrefetcher`` and ``CUDAPrefetcher``, which start all workers twice.

    The latter also copies batches on a stream of its own without telling PyTorch's allocator, which may reuse their
    memory during the step.
    """

    def __init__(self, loader: DataLoader, opt: dict[str, Any] | None = None) -> None:
        self.loader = loader

    def reset(self) -> None:
        self.batches = counted(iter(self.loader))

    def next(self) -> Any:
        return next(self.batches, None)


def create_train_val_dataloader(opt: dict[str, Any], logger: logging.Logger) -> tuple:
    """As BasicSR's, with ``TrainingOrder`` in place of its sampler.

    ``opt['samples']``, if a run resumes, is what ``samples_of`` gave when it was saved; it is set for the states of
    this run. Returns training loader, its sampler, validation loaders, number of the last epoch (0), and iterations.
    """
    train_loader, order, val_loaders = None, None, []
    total_iter = int(opt['train']['total_iter'])
    for phase, block in opt['datasets'].items():
        dataset = build_dataset(block)
        common = {'num_gpu': opt['num_gpu'], 'dist': opt['dist'], 'seed': opt['manual_seed']}
        if phase == 'train':
            batch_size, samples = block['batch_size_per_gpu'], samples_of(dataset)
            check_same_samples(opt.get('samples'), samples, f'datasets.{phase}')
            opt['samples'] = samples
            order = TrainingOrder(len(dataset), batch_size, total_iter, opt.get('start_iter', 0), opt['manual_seed'],
                                  opt['world_size'], opt['rank'], block.get('use_shuffle', True))
            if not isinstance(dataset, PairedSRDataset):
                dataset = SeededDataset(dataset)
            train_loader = build_dataloader(dataset, block, sampler=order, **common)
            train_loader.worker_init_fn = outlast_signals  # instead of seeding them: each sample has a seed
            logger.info(f'Training on {len(dataset)} images: {total_iter} iterations of {batch_size} x '
                        f'{opt["world_size"]} samples; the log counts all passes over the images as epoch 0.')
        else:
            val_loaders.append(build_dataloader(dataset, block, sampler=None, **common))
            logger.info(f'Validation on {len(dataset)} images of {block["name"]}.')
    return train_loader, order, val_loaders, 0, total_iter
