"""The options of ``train`` that say how a step is computed, and not what it computes."""
import os
import shutil
from dataclasses import dataclass, fields

from mipkd_arch.base.errors import UserError, number_in, one_of, true_or_false

from .precision import check_precision

COMPILERS = (os.environ['CXX'], ) if 'CXX' in os.environ else ('g++', 'clang++', 'c++', 'cl')


@dataclass(frozen=True)
class StepOptions:
    """How a step is computed; ``docs/speed.md`` has what each is worth."""
    precision: str = 'auto'
    """'bf16', 'tf32' (GPUs only), 'fp32', or 'auto' for bf16 where the hardware has it, else fp32."""
    channels_last: bool = True
    """Whether maps lie in memory pixel by pixel, all channels of each together."""
    compile: bool = False
    """Whether the networks' blocks are compiled by ``torch.compile``."""
    accumulate: int = 1
    """Equal parts that a batch is passed in, one after the other."""
    grad_clip: float | None = None
    """Largest L2 norm of all gradients together; longer ones are scaled down to it. None: as they are."""
    nonfinite: str = 'skip'
    """What is done with a step whose loss or gradient is not finite: 'skip' it, or 'stop' the run."""

    @classmethod
    def of(cls, opt, device):
        """Those of an option file.

        Args:
            opt (dict): all options.
            device (torch.device): of the training.

        Raises:
            UserError: one is wrong, not for this device, or does not go with another.
        """
        train = opt['train']
        found = cls(**{field.name: train[field.name] for field in fields(cls) if field.name in train})
        check_precision(found.precision, device)
        for name in ('channels_last', 'compile'):
            true_or_false(f'train.{name}', getattr(found, name))
        number_in('train.accumulate', found.accumulate, 1, integer=True)
        batch = opt['datasets']['train']['batch_size_per_gpu']
        if batch % found.accumulate:
            raise UserError(f'train.accumulate: {found.accumulate} equal parts cannot be made of '
                            f'datasets.train.batch_size_per_gpu: {batch}; take a divisor')
        if found.grad_clip is not None and not number_in('train.grad_clip', found.grad_clip, 0):
            raise UserError('train.grad_clip: 0 would take all of the gradient away; give a number above 0, or ~')
        one_of('train.nonfinite', found.nonfinite, ('skip', 'stop'))
        if found.compile and device.type == 'cpu' and not any(map(shutil.which, COMPILERS)):
            raise UserError(f'train.compile: needs a compiler of C++, found none of {", ".join(COMPILERS)}; install '
                            'one, or set compile: false')
        return found
