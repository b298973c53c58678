"""Makes the repository's packages importable and every test start from the same seed."""
import logging
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)
from mipkd_model import plugins

# isort: split
import torch

torch.set_num_threads(1)  # networks this small only wait for each other on more, 100 times as long on a busy machine


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_plugins_left():
    """What a test has used of folders of parts is no other's."""
    yield
    plugins.use([])


@pytest.fixture
def log(caplog):
    """What BasicSR's logger is told."""
    logger = logging.getLogger('basicsr')
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.removeHandler(caplog.handler)
