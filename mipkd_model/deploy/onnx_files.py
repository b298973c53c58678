"""ONNX models of networks: exported by torch, turned into float16 and into int8 by onnxruntime."""
from __future__ import annotations

import io
import multiprocessing
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .quiet import quiet

OPSET = 17
"""Of the ONNX operators: what chaiNNer, TensorRT and mobile runtimes of the last years read."""
OPSET_NEWER = 18
"""The least that the newer exporter writes."""
AXES = {0: 'batch', 2: 'height', 3: 'width'}
TIME_LIMIT = 240
"""Seconds for the newer exporter."""


def export_older(network: nn.Module, traced: torch.Tensor) -> Any:
    """The ``onnx.ModelProto`` by TorchScript's tracing, of one input ``input`` (N, 3, H, W) and one ``output``."""
    import onnx  # an optional package
    content: Any = io.BytesIO()
    with quiet(), torch.inference_mode():
        torch.onnx.export(network, (traced, ), content, dynamo=False, opset_version=OPSET, input_names=['input'],
                          output_names=['output'], dynamic_axes={'input': AXES, 'output': AXES})
    return onnx.load_from_string(content.getvalue())


def export_newer(network: nn.Module, traced: torch.Tensor) -> Any:
    """As ``export_older`` by torch.export, in a process of its own: it crashes on SPAN and does not end on SwinIR.

    Raises:
        ValueError: it failed or took longer than ``TIME_LIMIT``.
    """
    import onnx  # an optional package
    import onnxscript  # noqa: F401  (that the exporter needs)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'student.onnx')
        process = multiprocessing.get_context('spawn').Process(
            target=_export_newer, args=(network, traced, str(file)), daemon=True)
        process.start()
        process.join(TIME_LIMIT)
        if process.is_alive():
            process.kill()
            process.join()
            raise ValueError(f'not ready after {TIME_LIMIT} s')
        if not file.is_file():
            raise ValueError(f'ended with status {process.exitcode}')
        return onnx.load(str(file))


def _export_newer(network: nn.Module, traced: torch.Tensor, file: str) -> None:
    sizes: Any = {axis: torch.export.Dim.DYNAMIC for axis in AXES}
    with quiet(), torch.inference_mode():
        # A batch of one would be taken for a constant.
        torch.onnx.export(network, (traced.repeat(2, 1, 1, 1), ), file, dynamo=True, opset_version=OPSET_NEWER,
                          input_names=['input'], output_names=['output'], dynamic_shapes=(sizes, ),
                          external_data=False)


def half_of(model: Any) -> Any:
    """The model in float16 inside; images stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel
    with quiet():
        converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
        converted.topological_sort()  # its casts are appended at the end
    return converted.model


def int8_of(model: Any, images: Iterable[np.ndarray]) -> Any:
    """The model with convolutions and matrix products in int8: static quantization, the weights' by channel.

    Args:
        images: lq (1, 3, H, W) float32 in [0, 1], all of one size, by which the ranges of features are found.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {'input': image}

    with tempfile.TemporaryDirectory() as folder:
        whole, prepared, quantized = (str(Path(folder, f'{name}.onnx')) for name in ('whole', 'prepared', 'quantized'))
        onnx.save(model, whole)
        with quiet():
            quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, quantized, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        op_types_to_quantize=['Conv', 'MatMul', 'Gemm'])
        return onnx.load(quantized)


def save(model: Any, metadata: Mapping[str, str], file: Path) -> None:
    """Check a model and write it with its metadata."""
    import onnx
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
