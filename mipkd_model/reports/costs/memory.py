"""The most memory that tensors take while something runs."""
import json
import os
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import torch


def allocated_peak(run, device):
    """What a call allocates at most beyond what is there before it.

    Args:
        run (callable): without arguments; on CUDA it returns when the device has done its work.
        device (torch.device): where it runs.

    Returns:
        int | None: bytes; None where PyTorch cannot tell.
    """
    return (_cuda_peak if device.type == 'cuda' else _cpu_peak)(run, device)


def _cuda_peak(run, device):
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


def _cpu_peak(run, device):
    """From the profiler's record of every tensor that comes and goes; None if it has none."""
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # the profiler's own messages would stand in a table's way
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with TemporaryDirectory() as folder:
        file = Path(folder, 'trace.json')
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())['traceEvents']
    changes = sorted((event for event in events if event.get('name') == '[memory]'), key=lambda event: event['ts'])
    return max(accumulate(event['args']['Bytes'] for event in changes), default=None)
