"""Memory that was freed is kept, with the GNU C library."""
import os
import platform
import subprocess
import sys

import pytest
import runs

from mipkd_model.training.allocator import keep_freed_memory

FAULTS = """
import resource, torch
from mipkd_model.training.allocator import keep_freed_memory
assert keep_freed_memory() is {kept}
for _ in range(32):  # the heap settles after up to ten, by what lies in it already
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**26, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(kept, **environment):
    """Pages that a process touches for the first time when it makes a tensor of 64 MiB again and again."""
    done = subprocess.run([sys.executable, '-c', FAULTS.format(kept=kept)], env={**os.environ, **environment},
                          capture_output=True, text=True, cwd=runs.ROOT, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='is for the GNU C library')
def test_memory_that_was_freed_is_used_again_without_new_pages():
    assert page_faults(kept=True) < 100


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='is for the GNU C library')
def test_settings_of_the_environment_stay_in_force():
    assert page_faults(kept=False, MALLOC_TRIM_THRESHOLD_='131072') > 1000


@pytest.mark.parametrize('name', ['MALLOC_ARENA_MAX', 'GLIBC_TUNABLES'])
def test_any_setting_of_the_environment_counts(monkeypatch, name):
    monkeypatch.setenv(name, '1')
    assert keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert keep_freed_memory() is False
