"""Exported students run from their files: PyTorch, ONNX Runtime and ncnn behind one call."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.spandrel_arch import SpandrelNetwork
from mipkd_arch.staged_views import size_multiple

from .student import checkpoint_of, load_student

ONNX_PROPERTIES = ('scale', 'size_multiple')
NCNN_BLOBS = ('data', 'output')
"""Names of the input and the output, as the programs that read ncnn files expect them."""


@dataclass(frozen=True)
class Model:
    """A student from any file: (N, 3, H, W) float32 RGB in [0, 1] -> (N, 3, scale * H, scale * W), not clipped."""
    run: Callable[[np.ndarray], np.ndarray]
    scale: int
    size_multiple: int
    """What H and W must be multiples of."""


def open_model(where: str | Path, device: str = 'cpu') -> Model:
    """The model of a run, a checkpoint (.pth, .safetensors), an ONNX file or a pair of ncnn files (.param or .bin).

    Args:
        device: 'cpu', 'cuda' or 'cuda:N'; ncnn runs on the CPU.

    Raises:
        UserError: the file is not there, is not a super-resolution network, or its library is missing.
    """
    suffix = Path(where).suffix
    if suffix == '.onnx':
        return open_onnx(where, device)
    if suffix in ('.param', '.bin'):
        return open_ncnn(Path(where).with_suffix('.param'))
    return open_torch(where, device)


def open_torch(where: str | Path, device: str = 'cpu') -> Model:
    """The student of a run or checkpoint of this package, or of a file that spandrel opens."""
    file = checkpoint_of(where)
    try:
        student = load_student(file)
        network, scale, multiple = student.network, student.scale, student.size_multiple
    except UserError as ours:
        try:
            opened = SpandrelNetwork(file=str(file))
        except UserError:
            raise ours from None
        network, scale, multiple = opened.eval(), opened.upscale, size_multiple(opened)
    network = network.to(device)

    def run(lq: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(lq).to(device)).float().cpu().numpy()

    return Model(run, scale, multiple)


def opens_in_spandrel(file: Path) -> bool:
    """Whether the spandrel library recognizes the weights of a file; False where it is not installed."""
    try:
        import spandrel  # an optional package
        spandrel.ModelLoader(device='cpu').load_from_file(file)
    except Exception:  # of any architecture
        return False
    return True


def open_onnx(file: str | Path, device: str = 'cpu') -> Model:
    """The model of an ONNX file with one input and one output, both RGB images."""
    onnxruntime = _library('onnxruntime', file)
    if not Path(file).is_file():
        raise UserError(f'{file}: is not there')
    providers: list[Any] = ['CPUExecutionProvider']
    if device.startswith('cuda') and 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        providers.insert(0, ('CUDAExecutionProvider', {'device_id': int(device.partition(':')[2] or 0)}))
    try:
        session = onnxruntime.InferenceSession(str(file), providers=providers)
    except Exception as error:  # of the library, for any file
        raise UserError(f'{file}: onnxruntime cannot open it ({reason_of(error)})') from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shapes = [list(one.shape) for one in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or any(len(shape) != 4 or shape[1] not in (3, 'channels')
                                                   for shape in shapes):
        raise UserError(f'{file}: has inputs and outputs of shapes {shapes}; a super-resolution network has one of '
                        'each, RGB images (N, 3, H, W)')
    dtype = np.float16 if 'float16' in inputs[0].type else np.float32

    def run(lq: np.ndarray) -> np.ndarray:
        return session.run(None, {inputs[0].name: lq.astype(dtype)})[0].astype(np.float32)

    known = session.get_modelmeta().custom_metadata_map
    if all(name in known for name in ONNX_PROPERTIES):
        return Model(run, *(int(known[name]) for name in ONNX_PROPERTIES))
    return Model(run, _scale_of(run, file), 1)


def open_ncnn(file: Path) -> Model:
    """The model of ncnn's files ``.param`` and ``.bin``."""
    ncnn = _library('ncnn', file)
    weights = file.with_suffix('.bin')
    for part in (file, weights):
        if not part.is_file():
            raise UserError(f'{part}: is not there; ncnn needs both .param and .bin')
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    if net.load_param(str(file)) or net.load_model(str(weights)):
        raise UserError(f'{file}: ncnn cannot open it; is it of another version, or cut short?')
    names = list(net.input_names()), list(net.output_names())
    if [len(one) for one in names] != [1, 1]:
        raise UserError(f'{file}: has inputs {names[0]} and outputs {names[1]}; a super-resolution network has one of '
                        'each')

    def run(lq: np.ndarray) -> np.ndarray:
        images = []
        for image in lq:
            with net.create_extractor() as extractor:
                extractor.input(names[0][0], ncnn.Mat(np.ascontiguousarray(image)).clone())
                images.append(np.array(extractor.extract(names[1][0])[1]))
        return np.stack(images)

    return Model(run, _scale_of(run, file), 1)


def _library(name: str, file: object) -> Any:
    try:
        return __import__(name)
    except ModuleNotFoundError:
        raise UserError(f'{file}: opening it needs the {name} package: pip install {name}') from None


def _scale_of(run: Callable[[np.ndarray], np.ndarray], file: object) -> int:
    """The factor of a model that does not state it, found on a small image."""
    side = 64
    try:
        shape = run(np.zeros((1, 3, side, side), np.float32)).shape
    except Exception as error:  # of the library, for any file
        raise UserError(f'{file}: fails on an image of {side}x{side} ({reason_of(error)})') from None
    scale = shape[-1] // side
    if shape != (1, 3, scale * side, scale * side) or not scale:
        raise UserError(f'{file}: makes {shape} of an image of {side}x{side}; it is not a super-resolution network')
    return scale
