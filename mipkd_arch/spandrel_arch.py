"""Networks that the spandrel library opens, as teachers: any of its architectures, from a checkpoint file.

spandrel reads the architecture and all sizes from the names and shapes of the weights, so an option file names only
the file. Such a network always serves losses that compare images; it serves losses that compare features where a
staged view of its class is registered, as one of DAT is in ``mipkd_arch.spandrel_views``.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.registry import ARCH_REGISTRY

from .base.checkpoint import find_state_dict, read_checkpoint, without_trainer
from .base.errors import UserError, reason_of
from .base.network_record import load_recorded
from .size_probe import SIDE, in_eval_mode, takes_batches, trial_images
from .staged_views import crop_to, find_view, pad


def _open(checkpoint: Any, file: Path) -> Any:
    """Open the content of a checkpoint by spandrel; a ``UserError`` where it cannot or is not installed."""
    try:
        import spandrel  # an optional package
    except ModuleNotFoundError as error:
        raise UserError(f'{file}: opening it needs the spandrel library ({error.name} is missing): '
                        'pip install spandrel') from None
    from . import spandrel_views  # noqa: F401  (registers staged views of its classes)

    weights = find_state_dict(checkpoint, file)
    try:
        weights = without_trainer(weights, lambda names: any(
            entry.detect(names) for entry in spandrel.MAIN_REGISTRY.architectures()))
        opened = spandrel.ModelLoader(device='cpu').load_from_state_dict(weights)
    except Exception as error:  # any architecture, any failure
        raise UserError(f'{file}: spandrel {spandrel.__version__} cannot open it ({reason_of(error)}); register its '
                        'architecture with BasicSR and name it by type') from None
    if (opened.input_channels, opened.output_channels) != (3, 3):
        raise UserError(f'{file}: is a {opened.architecture.name} that does not take and give RGB images')
    return opened


@ARCH_REGISTRY.register()
class SpandrelNetwork(nn.Module):
    """A network opened from its checkpoint, by the spandrel library or by what the checkpoint records of it.

    Args:
        file: a checkpoint that spandrel can open, ``.pth``, ``.pt`` or ``.safetensors``; or one of this package,
            which records its network.
    """
    brings_weights = True  # no weights are loaded into it

    def __init__(self, *, file: str) -> None:
        super().__init__()
        path = Path(file).expanduser()
        checkpoint = read_checkpoint(path)  # not spandrel's own reader, which would run a TorchScript program
        network = load_recorded(checkpoint, path)
        self.one_by_one = False
        self.size_requirements: Any = None
        if network is not None:
            self.wrapped = network
            self.upscale = checkpoint['scale']
            self.call = lambda model, image: model(image)
            return
        opened = _open(checkpoint, path)
        self.wrapped = opened.model
        self.upscale = opened.scale
        self.size_requirements = opened.size_requirements
        # What spandrel does around some networks: scale the input and output, add a noise level, take the image out of
        # several outputs. Its public call clips and keeps no gradient, hence the private one, of 0.4.
        self.call = opened._call_fn
        view = find_view(self)
        self.takes_from = float('inf') if view is None else view.min_size
        self.one_by_one = view is None and not self._takes_batches()

    def _takes_batches(self) -> bool:
        """Whether a batch gives what its images give; some of these networks are made for one image at a time."""
        width, height = (SIDE + padding for padding in self.size_requirements.get_padding(SIDE, SIDE))
        with in_eval_mode(self):
            try:
                return takes_batches(lambda images: self.call(self.wrapped, images), trial_images(2, height, width))
            except Exception:  # it does not even take one image, which is reported where it is used
                return True

    def _padding(self, lq: Tensor) -> tuple[int, int]:
        """What is padded at right and bottom. A staged view pads by itself, and must give what is given here."""
        height, width = lq.shape[-2:]
        if self.size_requirements is None or min(height, width) >= self.takes_from:
            return 0, 0
        return self.size_requirements.get_padding(width, height)

    def forward(self, lq: Tensor) -> Tensor:
        """lq (N, 3, H, W) in [0, 1] -> image (N, 3, upscale * H, upscale * W), neither clipped nor rounded."""
        right, bottom = self._padding(lq)
        padded = pad(lq, bottom, right)
        padded = padded.clone() if padded is lq else padded  # some networks write into their input
        images = [self.call(self.wrapped, image) for image in (padded.split(1) if self.one_by_one else [padded])]
        return crop_to(torch.cat(images) if len(images) > 1 else images[0], lq, self.upscale)
