"""Makes the repository's packages importable and every test start from the same seed."""
import logging
import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # first: it says how torch's threads wait, and makes BasicSR importable

# isort: split
import torch

from mipkd_model.config import plugins

mipkd_model.register()

# Networks this small only wait for each other on more threads, 100 times as long on a busy machine. What tests start in
# processes of their own has one as well: a sum in two parts is rounded otherwise than one.
torch.set_num_threads(1)
os.environ['OMP_NUM_THREADS'] = '1'


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_plugins_left():
    """What a test has used of folders of parts is no other's."""
    yield
    plugins.use([])


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Whatever a test writes by mistake lies in its own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def log(caplog):
    """What BasicSR's logger is told."""
    logger = logging.getLogger('basicsr')
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def registered():
    """A function that registers a class for the time of a test."""
    entries = []

    def register(registry, cls):
        registry.register(cls)
        entries.append((registry, cls.__name__))
        return cls

    yield register
    for registry, name in entries:
        registry._obj_map.pop(name)
