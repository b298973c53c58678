"""A student in other formats, each written by a library and compared with the network before it gets its name."""
from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mipkd_arch.base.errors import UserError, reason_of

from ..base.files import atomic_write, file_sha256
from ..base.weights import plain_state_dict, save_checkpoint
from . import INT8, ncnn_files, onnx_files
from .measure import as_batch, mean_psnr, middle_pair, times
from .runtimes import Model, open_ncnn, open_onnx
from .student import NETWORK, Student, folded

TRACED = (4, 6)
"""Sides of the traced image, as multiples of 8 or of what the network needs; not square, since a SwinIR that is traced
at its ``img_size`` works at no other size."""
CHECKED = ((6, 5), (9, 8))
"""Sides of the images on which files are compared with the network."""
MIN_PSNR = 40.
"""In dB, of a file's image against the network's: below it is no copy of the network. float16 is above 50."""
MIN_PSNR_INT8 = 25.
CALIBRATED, MEASURED = 64, 16
"""At most this many photographs are calibrated on, and measured on: every fourth, which is not calibrated on."""
ROUNDS = 10
"""Timed passes of float32 and int8."""


@dataclass(frozen=True)
class Exported:
    """One format: its files, or why it cannot be had, and how far it is from the network."""
    format: str
    files: tuple[Path, ...] = ()
    failure: str = ''
    levels: float | None = None
    """Largest difference to the network's image, in levels of 255."""
    psnr: float | None = None
    """PSNR of the file's image against the network's, in dB; infinite where they are equal."""
    note: str = ''
    """What else was measured."""


@dataclass
class Export:
    """The export of one student.

    Args:
        image: a photograph, uint8 RGB (H, W, 3), of which crops are compared.
        license_name: SPDX name, for the metadata.
        photographs: image files, for the calibration of int8; LR images are made of them.
    """
    student: Student
    folder: Path
    image: np.ndarray
    license_name: str | None = None
    photographs: Sequence[Path] = ()

    def run(self, formats: Sequence[str]) -> Iterator[Exported]:
        """Write each format; what cannot be had has a ``failure``."""
        writers = {'pth': self._pth, 'safetensors': self._safetensors, 'ncnn': self._ncnn}
        for name in formats:
            try:
                yield writers[name]() if name in writers else self._onnx(name)
            except UserError:
                raise
            except ModuleNotFoundError as error:
                yield Exported(name, (), f'needs a package that is not installed: pip install {error.name}')
            except Exception as error:  # of the libraries, for any network
                kind = type(self.student.network).__name__
                yield Exported(name, (), f'{kind} cannot be had in it ({reason_of(error)})')

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What files say of the student."""
        student, training = self.student, self.student.training or {}
        found = {NETWORK: json.dumps(student.block), 'scale': str(student.scale),
                 'size_multiple': str(student.size_multiple), 'color': 'RGB in [0, 1]',
                 'license': self.license_name or '', 'method': str((training.get('table') or {}).get('method') or ''),
                 'seed': str(training.get('seed', '')), 'iterations': str(training.get('total_iter') or ''),
                 'checkpoint_sha256': file_sha256(student.file)}
        return {key: value for key, value in found.items() if value}

    @cached_property
    def _folded(self) -> nn.Module:
        return folded(self.student.network)

    @property
    def _traced(self) -> torch.Tensor:
        return torch.rand(1, 3, *(side * self._unit for side in TRACED))

    @property
    def _unit(self) -> int:
        return self.student.size_multiple * -(-8 // self.student.size_multiple)

    def _file(self, ending: str) -> Path:
        return self.folder / f'{self.student.name}{ending}'

    def _pth(self) -> Exported:
        student, file = self.student, self._file('.pth')
        save_checkpoint({'params_ema': plain_state_dict(student.network), 'network': student.block,
                         'scale': student.scale}, file)
        return Exported('pth', (file, ))

    def _safetensors(self) -> Exported:
        """The weights alone, by BasicSR's names."""
        from safetensors.torch import save
        weights = {key: value.contiguous() for key, value in plain_state_dict(self.student.network).items()}
        with atomic_write(self._file('.safetensors')) as temporary:
            temporary.write_bytes(save(weights, self.metadata))  # its own writer makes files of the user alone
        return Exported('safetensors', (self._file('.safetensors'), ))

    def _onnx(self, name: str) -> Exported:
        if isinstance(self._onnx_model, Exception):
            raise self._onnx_model
        if name == INT8:
            return self._int8(self._onnx_model)
        half = name == 'onnx-fp16'
        model = onnx_files.half_of(self._onnx_model) if half else self._onnx_model
        file = self._file('_fp16.onnx' if half else '.onnx')
        with atomic_write(file) as temporary:
            onnx_files.save(model, self.metadata, temporary)
            found = self._compare(open_onnx(temporary), MIN_PSNR)
        return Exported(name, (file, ), '', *found)

    def _int8(self, whole: Any) -> Exported:
        """Calibrated on photographs, with what it loses in PSNR and wins in time on others."""
        side, scale = 12 * self._unit, self.student.scale
        apart, used = self.photographs[::4], [file for i, file in enumerate(self.photographs) if i % 4]
        bar = tqdm((used or apart)[:CALIBRATED], 'calibrate', unit='image', disable=None)
        model = onnx_files.int8_of(whole, (middle_pair(file, side, scale)[1] for file in bar))
        file = self._file('_int8.onnx')
        with atomic_write(file) as temporary, tempfile.TemporaryDirectory() as folder:
            onnx_files.save(model, self.metadata, temporary)
            onnx_files.save(whole, self.metadata, Path(folder, 'whole.onnx'))
            models = {'int8': open_onnx(temporary), 'float32': open_onnx(Path(folder, 'whole.onnx'))}
            compared = self._compare(models['int8'], MIN_PSNR_INT8)
            pairs = [middle_pair(one, side, scale) for one in apart[:MEASURED]]
            psnr = {name: mean_psnr(one, pairs) for name, one in models.items()}
            calls = {name: partial(one.run, pairs[0][1]) for name, one in models.items()}
            ms = {name: median(found) for name, found in times(calls, ROUNDS).items()}
        note = (f'int8 loses {psnr["float32"] - psnr["int8"]:.2f} dB ({psnr["int8"]:.2f} instead of '
                f'{psnr["float32"]:.2f} dB on Y, {len(pairs)} photographs) and is {ms["float32"] / ms["int8"]:.2f} '
                f'times as fast ({ms["int8"]:.1f} instead of {ms["float32"]:.1f} ms for {side}x{side} pixels)')
        return Exported(INT8, (file, ), '', *compared, note)

    @cached_property
    def _onnx_model(self) -> Any:
        """The ONNX model by the first exporter whose model works at other sizes; an exception where none does."""
        reasons = []
        for exporter in (onnx_files.export_older, onnx_files.export_newer):
            try:
                model = exporter(self._folded, self._traced)
                with tempfile.TemporaryDirectory() as folder:
                    onnx_files.save(model, self.metadata, Path(folder, 'student.onnx'))
                    self._compare(open_onnx(Path(folder, 'student.onnx')), MIN_PSNR)
                return model
            except (ModuleNotFoundError, UserError) as error:
                return error
            except Exception as error:  # of the libraries, for any network
                reasons.append(reason_of(error))
        return ValueError('; by the newer exporter: '.join(reasons))

    def _ncnn(self) -> Exported:
        files = self._file('.param'), self._file('.bin')
        with tempfile.TemporaryDirectory() as folder:
            made = ncnn_files.convert(self._folded, self._traced, Path(folder, 'student'))
            found = self._compare(open_ncnn(made[0]), MIN_PSNR)
            for file, source in zip(files, made, strict=True):
                with atomic_write(file) as temporary:
                    temporary.write_bytes(source.read_bytes())
        return Exported('ncnn', files, '', *found)

    def _compare(self, model: Model, least: float) -> tuple[float, float]:
        sides = [(height * self._unit, width * self._unit) for height, width in CHECKED]
        levels, psnr = compare(model, self._folded, self.image, sides)
        if psnr < least:
            raise ValueError(f'its images differ from those of the network, by a PSNR of {psnr:.1f} dB')
        return levels, psnr


def compare(model: Model, network: nn.Module, image: np.ndarray, sizes: Sequence[tuple[int, int]]
            ) -> tuple[float, float]:
    """Largest difference in levels of 255, and PSNR in dB, between a file and the network, on crops of an image.

    Args:
        image: uint8 RGB (H, W, 3), repeated where it is smaller than a crop.
        sizes: height and width of the crops.

    Raises:
        ValueError: the output of the file has another shape, or is not finite.
    """
    levels, squares = 0., []
    for height, width in sizes:
        lq = as_batch(np.tile(image, (-(-height // image.shape[0]), -(-width // image.shape[1]), 1))[:height, :width])
        with torch.inference_mode():
            expected = network(torch.from_numpy(lq)).numpy().clip(0, 1)
        found = model.run(lq)
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise ValueError(f'its output for {width}x{height} pixels has shape {found.shape}'
                             f'{"" if np.isfinite(found).all() else " and values that are not finite"}')
        difference = found.clip(0, 1) - expected
        levels = max(levels, float(np.abs(difference).max()) * 255)
        squares.append(float((difference.astype(np.float64) ** 2).mean()))
    error = float(np.mean(squares))
    return levels, float('inf') if error == 0 else -10 * float(np.log10(error))

