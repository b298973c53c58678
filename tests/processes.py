"""Runs of several processes, and of one: started, waited for, and read."""
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import runs

CLEAN = {name: value for name, value in os.environ.items()
         if name not in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT') and 'SLURM' not in name}
SCRIPT = f"""import sys
sys.path.append({str(runs.ROOT)!r})
from mipkd_model.launch import train
{{before}}
if __name__ == '__main__':  # a worker that is not forked imports this file
    sys.exit(train({{root!r}}))
"""


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def script(folder, before=''):
    """Write a launcher whose results go to ``folder``, and which does something first. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'run.py').write_text(SCRIPT.format(root=str(folder), before=before))
    return folder / 'run.py'


def torchrun(*arguments, processes=2, **how):
    """Command that starts processes on one machine; ``how`` are options of torchrun, by default of a run of its own."""
    how = {'nnodes': 1, 'node_rank': 0, 'master_addr': '127.0.0.1', 'master_port': free_port(), **how}
    return [sys.executable, '-m', 'torch.distributed.run', f'--nproc_per_node={processes}',
            *(f'--{name}={value}' for name, value in how.items()), *map(str, arguments)]


class Processes:
    """Commands that run side by side, each with an environment of its own; what they say goes to files."""

    def __init__(self, folder, commands, environments=None):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.outputs, self.running, self.start = [], [], time.monotonic()
        for index, command in enumerate(commands):
            self.outputs.append(folder / f'output_{index}.txt')
            with open(self.outputs[-1], 'w') as output:
                env = {**CLEAN, 'OMP_NUM_THREADS': '1', **(environments[index] if environments else {})}
                self.running.append(subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, cwd=folder,
                                                     env=env))

    def end(self, timeout=300):
        """Wait until all have ended. Returns their exit statuses."""
        try:
            return [process.wait(max(0.1, timeout - (time.monotonic() - self.start))) for process in self.running]
        finally:
            for process in self.running:
                process.terminate()  # torchrun ends its processes then
            for process in self.running:
                process.wait(120)

    @property
    def said(self):
        return ''.join(output.read_text() for output in self.outputs)

    @property
    def errors(self):
        return [line for line in self.said.splitlines() if line.startswith('error: ')]

    def must_end_well(self):
        assert not any(self.end()), self.said
        return self
