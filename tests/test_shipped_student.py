"""The student of this repository, in the folder that ``mipkd card`` has written: demo/student."""
import hashlib
import json
import re

import numpy as np
import pytest
import runs

from mipkd_model.deploy.runtimes import open_model

FOLDER = runs.ROOT / 'demo/student'
NAME = 'EDSR_32x4_x4_MiPKD'


def test_all_files_are_those_of_its_sums():
    lines = [line.split('  ') for line in (FOLDER / 'SHA256SUMS').read_text().splitlines()]
    assert {name for _, name in lines} == {file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob('*')
                                           if file.is_file() and file.name != 'SHA256SUMS'}
    for digest, name in lines:
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_its_figures_are_those_of_its_run_in_the_study():
    text = (FOLDER / 'README.md').read_text()
    iterations, seed = (int(re.search(rf'- {name}: (\d+)', text)[1]) for name in ('iterations', 'seed'))
    record, = (one for one in json.loads((runs.ROOT / 'docs/results/study.json').read_text())
               if (one.get('kind', 'width'), one.get('variant'), one.get('iters'), one.get('seed')) == (
                   'width', 'MiPKD', iterations, seed))
    for name, found in record['test'].items():
        row = re.search(rf'\| {name} \|.*', text)[0]
        assert f'| {found["psnr"]:.2f} / {found["ssim"]:.4f} |' in row


def test_it_is_the_same_network_in_pytorch_and_in_onnxruntime():
    pytest.importorskip('onnxruntime')
    lq = np.random.default_rng(0).random((1, 3, 24, 31), np.float32)
    first, second = (open_model(str(FOLDER / f'{NAME}.{ending}')).run(lq) for ending in ('pth', 'onnx'))
    assert first.shape == (1, 3, 96, 124) and np.abs(first - second).max() < 1 / 255
