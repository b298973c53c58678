"""Forward and backward of one training step: from a batch to losses by name, and to gradients."""
import torch

from ..base.randomness import StepRandom
from ..distributed.all_reduce import GradientAllReduce
from .precision import autocast


class Gradients:
    """Adds the gradients of a batch to those of the trained weights.

    Args:
        distiller (nn.Module): ``Distiller``.
        options (StepOptions): ``precision`` and ``accumulate`` are read. A batch is passed in as many parts as the
            latter says: gradients and losses are those of the whole, in the memory of a part, for losses that are
            means over samples.
        device (torch.device): of the batch.
        seed (int): the run's ``manual_seed``.
        rank, world_size (int): which of how many processes this is. Gradients and losses are means over all, the same
            in each, and so those of the batch that all have together.
    """

    def __init__(self, distiller, options, device, seed, rank=0, world_size=1):
        self.distiller, self.device = distiller, device
        self.precision, self.parts = options.precision, options.accumulate
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.all_reduce = GradientAllReduce(distiller)

    def rng(self, iteration, part=0, generator=None):
        """The random choices of a part of this process's batch, see ``StepRandom``."""
        share = self.rank * self.parts + part, self.world_size * self.parts
        return StepRandom(self.seed, iteration, self.device, share, generator)

    def __call__(self, lq, gt, iteration):
        """Run a step's forward and backward.

        Args:
            lq (Tensor): (N, 3, H, W) in [0, 1], on the device; N is a multiple of ``accumulate``.
            gt (Tensor): (N, 3, upscale * H, upscale * W) in [0, 1], on the device.
            iteration (int): of the training; with the seed it decides on the random choices.

        Returns:
            dict[str, Tensor]: scalar losses by name, detached.
        """
        found = [self.of_part(*part) for part in self.passes(lq, gt, iteration)]
        losses = {name: torch.stack([losses[name] for losses in found]).sum() for name in found[0]}
        return self.all_reduce(losses) if self.world_size > 1 else losses

    def passes(self, lq, gt, iteration):
        """What the passes of a step take, one after the other: arguments of ``losses_of``; as for ``__call__``."""
        self.distiller.set_iteration(iteration)
        for index, part in enumerate(zip(lq.chunk(self.parts), gt.chunk(self.parts), strict=True)):
            yield *part, self.rng(iteration, index)

    def losses_of(self, lq, gt, rng):
        """Losses of one part, as they add up to those of the batch; arguments as for ``Distiller``."""
        with autocast(self.precision, self.device):
            losses = self.distiller(lq, gt, rng)
        return {name: loss / self.parts for name, loss in losses.items()} if self.parts > 1 else losses

    def of_part(self, lq, gt, rng):
        """Forward and backward of one part; arguments as for ``Distiller``."""
        losses = self.losses_of(lq, gt, rng)
        torch.stack(list(losses.values())).sum().backward()
        return {name: loss.detach() for name, loss in losses.items()}
