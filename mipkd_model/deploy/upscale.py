"""Images of any size through a model: padded, in tiles, with their alpha channel."""
from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mipkd_arch.base.errors import UserError, printable, reason_of
from mipkd_arch.base.failures import is_out_of_memory

from ..evaluation.restore import Restore, padded, tiled
from .pictures import FORMATS, Picture
from .runtimes import Model


def upscale(picture: Picture, model: Model, tile: int = 0, overlap: int = 0) -> Picture:
    """Upscale an image and its alpha channel.

    Args:
        tile: side in lq pixels of the parts that a larger image is run in; 0: the whole at once.
        overlap: lq pixels that each part sees beyond its edges.
    """
    color = upscale_array(picture.color, model, tile, overlap)
    if picture.gray:
        color = color.mean(-1, keepdims=True).repeat(3, -1)
    alpha = picture.alpha
    if alpha is not None:
        mean = upscale_array(alpha[..., None].repeat(3, -1), model, tile, overlap).mean(-1)
        # What is opaque as a whole stays so; a network gives 0.99 for 1.
        alpha = np.full_like(mean, alpha.flat[0]) if alpha.min() == alpha.max() else mean
    return replace(picture, color=color, alpha=alpha)


def upscale_array(image: np.ndarray, model: Model, tile: int = 0, overlap: int = 0) -> np.ndarray:
    """An RGB image (H, W, 3) in [0, 1], upscaled and clipped to [0, 1]; other arguments as of ``upscale``.

    Raises:
        UserError: the model fails, as one that was made for images of one size.
    """
    def run(lq: torch.Tensor) -> torch.Tensor:
        try:
            return torch.from_numpy(model.run(np.ascontiguousarray(lq.numpy())))
        except Exception as error:  # of the libraries, for any model
            if is_out_of_memory(error):
                raise
            raise UserError(f'the model fails on {lq.shape[-1]}x{lq.shape[-2]} pixels ({reason_of(error)})') from None

    restore: Restore = partial(padded, run, model.size_multiple, model.scale)
    if tile and max(image.shape[:2]) > tile:
        restore = partial(tiled, restore, tile, overlap, model.scale)
    lq = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None]
    return restore(lq)[0].permute(1, 2, 0).clamp(0, 1).numpy()


def find_inputs(names: Iterable[str]) -> list[Path]:
    """The image files that arguments name: files, folders without their sub-folders, and patterns such as *.png.

    Raises:
        UserError: an argument names nothing, or a folder has no image.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in FORMATS and file.is_file())
            if not files:
                raise UserError(f'{printable(name)}: has no images ({", ".join(FORMATS)})')
            found += files
        elif path.exists():
            found.append(path)
        else:
            files = sorted(Path(file) for file in glob.glob(str(path)))
            if not files:
                raise UserError(f'{printable(name)}: is not there')
            found += [file for file in files if file.is_file()]
    return list(dict.fromkeys(found))


def name_outputs(inputs: Sequence[Path], folder: Path, suffix: str, kind: str | None) -> dict[Path, Path]:
    """The output of each input.

    Args:
        suffix: added to names.
        kind: ending of all outputs without a dot; None keeps that of the input.

    Raises:
        UserError: two inputs would have one output, or one would replace itself.
    """
    outputs: dict[Path, Path] = {}
    for file in inputs:
        ending = f'.{kind}' if kind else file.suffix if file.suffix.lower() in FORMATS else '.png'
        output = folder / f'{file.stem}{suffix}{ending}'
        twin = next((other for other, taken in outputs.items() if taken == output), None)
        if twin:
            raise UserError(f'{file} and {twin} would both become {output}; upscale them into different folders')
        if output.resolve() == file.resolve():
            raise UserError(f'{file}: its result would replace itself; name another folder by --out, or add --suffix')
        outputs[file] = output
    return outputs
