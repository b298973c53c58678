"""A bound on what a network may take while it is built, so that absurd sizes are a mistake and not a dead machine."""
import sys
from contextlib import contextmanager
from pathlib import Path

from torch.nn.modules.module import register_module_parameter_registration_hook

from mipkd_arch.base.errors import UserError

from .machine import GIB, free_memory

MAX_TENSORS = 10_000
"""Of one network; the largest published ones have about 2,000."""
MAX_WEIGHTS = 2 * GIB
"""Of one network; the largest published ones have about 0.2 GiB."""
MAX_MEMORY = 4 * GIB
"""That building a network may take, all in all."""


@contextmanager
def within_memory(where):
    """Context in which networks are built, and refused as soon as they are too large.

    Weights are counted as they are made. Whatever else is asked for, above what is free, fails at once; the system
    would grant it, and end the process when it is used.

    Args:
        where (str): path of the options, for messages.

    Raises:
        UserError: it would not fit.
    """
    free, tensors, taken = min(free_memory(), MAX_MEMORY), 0, 0
    most = min(free, MAX_WEIGHTS)

    def count(module, name, parameter):
        nonlocal tensors, taken
        if parameter is None:
            return
        tensors, taken = tensors + 1, taken + parameter.numel() * parameter.element_size()
        if tensors > MAX_TENSORS:
            raise UserError(f'{where}: has more than {MAX_TENSORS} tensors of weights; mend its sizes')
        if taken > most:
            raise UserError(f'{where}: its weights need more than {most / GIB:.1f} GiB; mend its sizes')

    hook = register_module_parameter_registration_hook(count)
    try:
        with _address_space(free):
            yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or 'allocate memory' in str(error):
            raise UserError(f'{where}: needs more than {free / GIB:.1f} GiB of memory to be built; mend its '
                            'sizes') from None
        raise
    finally:
        hook.remove()


@contextmanager
def _address_space(more):
    """Let this process take only so many bytes beyond what it has; Linux alone counts what is reserved, too."""
    try:
        import resource  # is not there on every system
    except ImportError:
        resource = None
    if sys.platform != 'linux' or resource is None:
        yield
        return
    has = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [has + more, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
