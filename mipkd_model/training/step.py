"""Forward and backward pass of one training step: from a batch to losses by name, and to gradients."""
from collections.abc import Iterator

import torch

from ..base.randomness import StepRandom
from ..distributed.all_reduce import GradientAllReduce
from ..schema.training import TrainOptions
from .distiller import Distiller
from .inner_step import run_inner_steps
from .precision import autocast


class TrainingStep:
    """Adds the gradients of a batch to those of the trained weights.

    With gradient accumulation a batch is passed in ``accumulate`` equal parts: gradients and losses are those of the
    whole, in the memory of a part, for losses that are means over samples. With several processes they are means over
    all, the same in each, and so those of the batch that all have together.
    """

    def __init__(self, distiller: Distiller, options: TrainOptions, device: torch.device, seed: int, rank: int = 0,
                 world_size: int = 1) -> None:
        self.distiller, self.precision, self.accumulate = distiller, options.precision, options.accumulate
        self.device, self.seed, self.rank, self.world_size = device, seed, rank, world_size
        self.all_reduce = GradientAllReduce(distiller)

    def __call__(self, lq: torch.Tensor, gt: torch.Tensor, iteration: int) -> dict[str, torch.Tensor]:
        """Run the forward and backward pass. Returns scalar losses by name, detached.

        Args:
            lq: (N, 3, H, W) in [0, 1], on the device; N is a multiple of ``accumulate``.
            gt: (N, 3, upscale * H, upscale * W) in [0, 1], on the device.
            iteration: of the training; with the seed it decides the random choices.
        """
        if not self.distiller.calibrated:
            # In a context of its own: weights that autocast casts and caches under no_grad are not the step's.
            with autocast(self.precision, self.device):
                self.distiller.calibrate(lq)
        self.distiller.set_iteration(iteration)
        rng = StepRandom(self.seed, iteration, self.device, (self.rank, self.world_size))
        run_inner_steps(self.distiller, lq, gt, rng, iteration, self.precision)
        found = []
        for part in self.parts(lq, gt, iteration):
            with autocast(self.precision, self.device):
                losses = self.distiller(*part)
            losses = {name: loss / self.accumulate for name, loss in losses.items()}
            torch.stack(list(losses.values())).sum().backward()
            found.append({name: loss.detach() for name, loss in losses.items()})
        total = {name: torch.stack([losses[name] for losses in found]).sum() for name in found[0]}
        return self.all_reduce(total) if self.world_size > 1 else total

    def parts(self, lq: torch.Tensor, gt: torch.Tensor, iteration: int
              ) -> Iterator[tuple[torch.Tensor, torch.Tensor, StepRandom]]:
        """The parts of a batch one after the other, as ``Distiller.forward`` takes them."""
        for index, part in enumerate(zip(lq.chunk(self.accumulate), gt.chunk(self.accumulate), strict=True)):
            shard = self.rank * self.accumulate + index, self.world_size * self.accumulate
            yield *part, StepRandom(self.seed, iteration, self.device, shard)
