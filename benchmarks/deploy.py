"""Latency of a student in each format, beside its teacher: PyTorch, ONNX in float32 and int8, OpenVINO, and ncnn.

Weights are random, for latency does not depend on them; the sizes are those of an option file. All models have the same
number of threads and take turns, so that whatever else the machine does slows down all alike. The table has the least
time of each, which other work on the machine changes least. int8 is calibrated on noise. Each number of threads is a
process of its own, since OpenMP reads it when torch is loaded.

The last line is one JSON object: milliseconds of each model by number of threads, least and median, and versions.

example: python benchmarks/deploy.py --size 96 --rounds 30
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import numpy as np
import torch
from PIL import Image

from mipkd_arch.base.cli import command_status
from mipkd_arch.base.errors import UserError, number_in
from mipkd_arch.base.network_record import network_record
from mipkd_model.config.checks import read_options
from mipkd_model.deploy import INT8
from mipkd_model.deploy.export import Export
from mipkd_model.deploy.measure import times
from mipkd_model.deploy.runtimes import open_torch
from mipkd_model.deploy.student import load_student
from mipkd_model.networks.build import make_network

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = 'options/demo/train_MiPKD_x4.yml'
PACKAGES = ('torch', 'onnxruntime', 'openvino', 'ncnn')


def torch_call(file: Path, lq: np.ndarray) -> Callable[[], object]:
    return partial(open_torch(file).run, lq)


def onnx_call(file: Path, lq: np.ndarray, threads: int) -> Callable[[], object]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')  # the others compute in its turn, too
    session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    return partial(session.run, None, {'input': lq})


def openvino_call(file: Path, lq: np.ndarray, threads: int, precision: str) -> Callable[[], object]:
    import openvino
    model = openvino.Core().compile_model(str(file), 'CPU', {'INFERENCE_NUM_THREADS': threads,
                                                             'INFERENCE_PRECISION_HINT': precision})
    return partial(model, {'input': lq})


def ncnn_call(file: Path, lq: np.ndarray, threads: int) -> Callable[[], object]:
    import ncnn
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.load_param(str(file))
    net.load_model(str(file.with_suffix('.bin')))

    def run() -> object:
        with net.create_extractor() as extractor:
            extractor.input('data', ncnn.Mat(lq[0]).clone())
            return np.array(extractor.extract('output')[1])

    return run


def measure(opt: dict, threads: int, size: int, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each model in this process, for one LR image of size x size."""
    torch.set_num_threads(threads)
    lq = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for role in ('g', 't'):
            block = opt[f'network_{role}']
            network = make_network({'network_g': block, 'path': {}}, 'g')[0]
            torch.save({'params': network.state_dict(), **network_record(block, opt['scale'])}, folder / f'{role}.pth')
        noise = [folder / f'{number}.png' for number in range(4)]
        for number, file in enumerate(noise):
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (400, 400, 3), np.uint8)).save(file)
        files = {}
        for done in Export(load_student(folder / 'g.pth', 'student'), folder, np.asarray(Image.open(noise[0])),
                           photographs=noise).run(['onnx', 'onnx-fp16', INT8, 'ncnn']):
            if done.failure:
                raise UserError(f'{done.format}: {done.failure}')
            files[done.format] = done.files[0]
        calls = {'teacher, PyTorch': torch_call(folder / 't.pth', lq),
                 'student, PyTorch': torch_call(folder / 'g.pth', lq),
                 'student, ONNX': onnx_call(files['onnx'], lq, threads),
                 'student, ONNX int8': onnx_call(files[INT8], lq, threads),
                 'student, ncnn': ncnn_call(files['ncnn'], lq, threads)}
        with suppress(ModuleNotFoundError):
            calls['student, OpenVINO'] = openvino_call(files['onnx'], lq, threads, 'f32')
            calls['student, OpenVINO int8'] = openvino_call(files[INT8], lq, threads, 'f32')
        return {name: {'least': min(found), 'median': statistics.median(found)}
                for name, found in times(calls, rounds).items()}


def benchmark(args: argparse.Namespace) -> None:
    """Measure, or start a process for each number of threads that does so."""
    for name in ('size', 'rounds'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    opt = read_options(args.opt)
    if len(args.threads) == 1:
        print(json.dumps(measure(opt, args.threads[0], args.size, args.rounds)))
        return
    result = {}
    for threads in args.threads:
        command = [sys.executable, __file__, '--opt', args.opt, '--threads', str(threads), '--size', str(args.size),
                   '--rounds', str(args.rounds)]
        done = subprocess.run(command, env={**os.environ, 'OMP_NUM_THREADS': str(threads)}, capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise UserError((done.stderr.strip().splitlines() or ['the process was killed'])[-1])
        result[threads] = json.loads(done.stdout.splitlines()[-1])
    print('\n| model | ' + ' | '.join(f'{n} thread{"s" if n > 1 else ""}, ms' for n in result) + ' |')
    for name in next(iter(result.values())):
        print(f'| {name} | ' + ' | '.join(f'{of[name]["least"]:.1f}' for of in result.values()) + ' |')
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    print(json.dumps({'opt': args.opt, 'lr_size': args.size, 'rounds': args.rounds, 'milliseconds': result,
                      'versions': {'python': platform.python_version(), **versions}}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--opt', default=OPTIONS, metavar='FILE',
                        help='option file with network_g and network_t (default: %(default)s)')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2], metavar='N', help='(default: 1 2)')
    parser.add_argument('--size', type=int, default=96, metavar='N', help='LR side in pixels (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=30, metavar='N', help='timed passes (default: %(default)s)')
    os.chdir(ROOT)
    return command_status(parser, run=benchmark)


if __name__ == '__main__':
    sys.exit(main())
