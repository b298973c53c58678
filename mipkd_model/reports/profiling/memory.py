"""The most memory that tensors take while something runs."""
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_allocated_bytes(run: Callable[[], object], device: torch.device) -> int:
    """What a call allocates at most beyond what is there before it, in bytes.

    On CUDA it is what PyTorch's allocator counts; there the call must wait for the device. On a CPU it is the sum of
    the tensors that are alive at once; buffers inside of a kernel are not seen.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with _LiveTensors() as tensors:
        run()
    return tensors.peak


class _LiveTensors(TorchDispatchMode):
    """Sums the storages that operations make, until they are freed.

    PyTorch has no other public place for modes that see each operation; its FlopCounterMode is one, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        with self:  # in inference mode operations that consist of others come here whole
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        result = func(*args, **kwargs)
        given = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if id(storage) not in given | self._known:
                self._known.add(id(storage))
                self.bytes += storage.nbytes()
                weakref.finalize(storage, self._free, id(storage), storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return result

    def _free(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.bytes -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
