"""Networks that the spandrel library opens, as teachers: any of its architectures, from a checkpoint file alone.

spandrel reads the architecture and all sizes from the names and shapes of the weights, so an option file names only
the file. Such a network always serves losses that compare images; it serves losses that look inside where a staged
view of its class is registered, as one of DAT is in ``mipkd_arch.spandrel_views``.
"""
from pathlib import Path

import torch
from torch import nn

from basicsr.utils.registry import ARCH_REGISTRY

from .base.checkpoint import find_state_dict, read_checkpoint, without_trainer
from .base.errors import UserError, reason_of
from .base.network_record import recorded_network
from .size_probe import SIDE, in_eval_mode, takes_batches, trial_images
from .staged_view import crop_to, has_view, pad


def _recorded(checkpoint, file):
    """The network that a checkpoint of this package names, with its weights; None for one that names none."""
    block = recorded_network(checkpoint)
    if block is None:
        return None
    arguments = {name: value for name, value in block.items() if name != 'type'}
    try:
        network = ARCH_REGISTRY.get(block['type'])(**arguments)
        network.load_state_dict(find_state_dict(checkpoint, file))
    except UserError:
        raise
    except Exception as error:  # any class, any failure
        raise UserError(f'{file}: the {block["type"]} that it names does not take its weights ({reason_of(error)}); '
                        'save it anew') from None
    return network


def _open(checkpoint, file):
    """Open the content of a checkpoint. Returns spandrel's descriptor of the model.

    Raises:
        UserError: spandrel is not installed, or does not know the network.
    """
    try:
        import spandrel  # only here: most runs do without it
    except ModuleNotFoundError as error:
        raise UserError(f'{file}: opening it needs the spandrel library ({error.name} is missing): '
                        'pip install spandrel') from None
    from . import spandrel_views  # noqa: F401  (registers staged views of its classes)

    weights = find_state_dict(checkpoint, file)
    try:
        weights = without_trainer(weights, lambda names: _is_known(spandrel, names))
        opened = spandrel.ModelLoader(device='cpu').load_from_state_dict(weights)
    except spandrel.UnsupportedModelError:
        raise UserError(f'{file}: spandrel {spandrel.__version__} does not know this network; register its '
                        'architecture with BasicSR and name it by type') from None
    except Exception as error:  # a damaged file can make the reader, or any of forty architectures, fail in any way
        raise UserError(f'{file}: spandrel cannot open it ({reason_of(error)})') from None
    if not isinstance(opened, spandrel.ImageModelDescriptor) or (
            opened.input_channels, opened.output_channels) != (3, 3):
        raise UserError(f'{file}: is a {opened.architecture.name} that does not take and give RGB images')
    return opened


def _is_known(spandrel, weights):
    return any(entry.detect(weights) for entry in spandrel.MAIN_REGISTRY.architectures())


@ARCH_REGISTRY.register()
class SpandrelNetwork(nn.Module):
    """A network opened from its checkpoint alone, by the spandrel library or by what the checkpoint says of it.

    Args:
        file (str): a checkpoint that spandrel can open, ``.pth``, ``.pt`` or ``.safetensors``; or one of this package,
            which names its network.
    """
    brings_weights = True  # nothing is to be loaded into it

    def __init__(self, *, file):
        super().__init__()
        file = Path(file).expanduser()
        checkpoint = read_checkpoint(file)  # not spandrel's own reader, which would run a TorchScript program
        network = _recorded(checkpoint, file)
        if network is not None:
            self.wrapped, self.one_by_one, self.size_requirements = network, False, None
            self.upscale, self.call = checkpoint['scale'], lambda model, image: model(image)
            return
        opened = _open(checkpoint, file)
        self.wrapped = opened.model
        self.upscale = opened.scale
        self.size_requirements = opened.size_requirements
        # What spandrel does around some networks, as it must: scale the input and output, add a map of the noise, take
        # the image out of several outputs. Its public call does so, too, but clips and keeps no gradient.
        self.call = opened._call_fn
        self.one_by_one = not has_view(self) and not self._takes_batches()

    def _takes_batches(self):
        """Whether a batch gives what its images give; some of these networks are made for one image at a time."""
        width, height = (SIDE + padding for padding in self.size_requirements.get_padding(SIDE, SIDE))
        with in_eval_mode(self):
            try:
                return takes_batches(lambda images: self.call(self.wrapped, images), trial_images(2, height, width))
            except Exception:  # it does not even take one: whoever runs it is told
                return True

    def forward(self, lq):
        """lq (N, 3, H, W) in [0, 1] -> image (N, 3, upscale * H, upscale * W), neither clipped nor rounded."""
        # A staged view knows by itself what sizes its network takes, and has to give what is given here.
        alone = has_view(self) or self.size_requirements is None
        right, bottom = (0, 0) if alone else self.size_requirements.get_padding(*lq.shape[:-3:-1])
        seen = pad(lq, bottom, right)
        seen = seen.clone() if seen is lq else seen  # some write into what they are given
        images = [self.call(self.wrapped, image) for image in (seen.split(1) if self.one_by_one else [seen])]
        return crop_to(images[0] if len(images) == 1 else torch.cat(images), lq, self.upscale)
