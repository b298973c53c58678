"""Bicubic, student and teacher on the same photographs: figures and a picture."""
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from tqdm import tqdm

import mipkd_model  # noqa: F401
from mipkd_model.data.bicubic import imresize
from mipkd_model.evaluation.evaluate import mean_scores, to_uint8
from mipkd_model.evaluation.metrics import score, usual_metrics

from basicsr.data import build_dataset

TITLES = {'bicubic': 'bicubic', 'before': 'student, before', 'scratch': 'student, no teacher',
          'distilled': 'student, distilled', 'teacher': 'teacher', 'gt': 'original'}
ZOOM, CROP, BAR = 3, 88, 24  # magnification, side of the crop in gt pixels, height of a caption


def upscale_bicubic(lq: Tensor, scale: int) -> Tensor:
    """MATLAB's bicubic of lq (1, 3, H, W) in [0, 1], which has been uint8; quantized, too."""
    image = (lq[0] * 255).round().byte().permute(1, 2, 0).numpy()
    return torch.from_numpy(imresize(image, scale)).permute(2, 0, 1)[None] / 255


def compare(networks: dict[str, nn.Module], dataset_opt: dict[str, Any], scale: int, picture: Path
            ) -> dict[str, dict[str, float]]:
    """Validate all on a dataset and write a picture.

    Args:
        networks: by column.
        dataset_opt: block of the option file; the dataset gives uint8 images.
        scale: gt size over lq size, and the border in pixels that the metrics leave out.
        picture: the PNG to write.

    Returns:
        Mean PSNR in dB and SSIM on the Y channel, by column, 'bicubic' first.
    """
    dataset = build_dataset({**dataset_opt, 'phase': 'val', 'scale': scale})
    columns: dict[str, Any] = {'bicubic': lambda lq: upscale_bicubic(lq, scale), **networks}
    scores: dict[str, list[dict[str, float]]] = {column: [] for column in columns}
    rows = []
    for item in tqdm(dataset, 'validate', unit='image'):
        lq, images = item['lq'][None].float() / 255, {'gt': to_uint8(item['gt'])}
        with torch.no_grad():
            for column, run in columns.items():
                images[column] = to_uint8(run(lq)[0])
                scores[column].append(score(images[column], images['gt'], usual_metrics(scale)))
        rows.append((images, {column: scores[column][-1]['psnr'] for column in columns}))
    draw(rows, [*columns, 'gt'], picture)
    means = {column: mean_scores(values) for column, values in scores.items()}
    return {column: {'psnr': round(values['psnr'], 4), 'ssim': round(values['ssim'], 5)}
            for column, values in means.items()}


def most_detailed(gt: np.ndarray) -> tuple[int, int]:
    """Top and left of the crop of ``gt`` (H, W, 3) with the strongest mean gradient: where networks differ."""
    gray = gt.mean(2)
    detail = np.abs(np.diff(gray, axis=0))[:, 1:] + np.abs(np.diff(gray, axis=1))[1:]
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[CROP:, CROP:] - sums[:-CROP, CROP:] - sums[CROP:, :-CROP] + sums[:-CROP, :-CROP]
    top, left = np.unravel_index(total.argmax(), total.shape)
    return int(top), int(left)


def draw(rows: list[tuple[dict[str, np.ndarray], dict[str, float]]], columns: list[str], picture: Path) -> None:
    """Write the side-by-side picture: a row for each photograph, a column for each method."""
    side = CROP * ZOOM
    sheet = Image.new('RGB', (len(columns) * (side + 4) - 4, len(rows) * (side + BAR + 4) - 4), 'white')
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for y, (images, psnr) in enumerate(rows):
        top, left = most_detailed(images['gt'].astype(float))
        for x, column in enumerate(columns):
            crop = images[column][top:top + CROP, left:left + CROP]
            at = (x * (side + 4), y * (side + BAR + 4))
            sheet.paste(Image.fromarray(np.ascontiguousarray(crop)).resize((side, side), Image.Resampling.NEAREST), at)
            caption = TITLES[column] + (f'  {psnr[column]:.2f} dB' if column in psnr else '')
            pen.text((at[0] + side / 2, at[1] + side + BAR / 2), caption, 'black', font, anchor='mm')
    sheet.save(picture)


def table(summary: dict[str, dict[str, float]], networks: dict[str, nn.Module]) -> str:
    """The figures as text."""
    lines = [f'{"":20}{"params":>10}{"PSNR":>9}{"SSIM":>9}']
    for column, values in summary.items():
        count = f'{sum(p.numel() for p in networks[column].parameters()) / 1e6:.2f}M' if column in networks else '-'
        lines.append(f'{TITLES[column]:20}{count:>10}{values["psnr"]:9.2f}{values["ssim"]:9.4f}')
    return '\n'.join(lines)
