"""Evaluations whose images have been saved, of made-up networks, and the command that draws them."""
import argparse
from dataclasses import replace

import numpy as np
from PIL import Image
from records import record

from mipkd_model.commands import figure
from mipkd_model.data.bicubic import shrink
from mipkd_model.evaluation.records import ImageRecord, write_record

SIZE = (47, 62)  # of gt; at x4 three rows and two columns are more than lq stands for
CROPPED = (44, 60)
BICUBIC = {'psnr': 20.5, 'ssim': 0.5}
IMAGE = 'bird'


def write_images(folder):
    """Write ``HR`` and ``X4`` with an image of noise, as Set5 has them. Returns gt, cropped to what x4 of lq covers."""
    gt = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    for name, image, file in (('HR', gt, f'{IMAGE}.png'), ('X4', shrink(gt, 4), f'{IMAGE}x4.png')):
        (folder / name).mkdir()
        Image.fromarray(image).save(folder / name / file)
    return gt[:CROPPED[0], :CROPPED[1]]


def made_up(*methods):
    """Outputs of networks that there are not, noise of the size of gt, by method."""
    rng = np.random.default_rng(1)
    return {method: rng.integers(0, 256, (*CROPPED, 3), dtype=np.uint8) for method in methods}


def figure_command(*arguments):
    """Run ``mipkd figure``."""
    parser = argparse.ArgumentParser()
    figure.add(parser.add_subparsers())
    args = parser.parse_args(['figure', *map(str, arguments)])
    args.run(args)


def evaluated(folder, method, output, psnr=30.0, ssim=0.8, changes=None, **fields):
    """Write what evaluating a network on the images in ``folder`` leaves behind. Returns the folder of its results.

    Args:
        folder (Path): where ``write_images`` has been.
        method (str): of the record.
        output (ndarray | None): of the network (H, W, 3); None does not save it.
        psnr, ssim (float): of the image.
        changes (dict | None): entries of the record's ``dataset`` to replace.
        **fields: fields of the record to replace.
    """
    made = record(**{'method': method, 'name': f'test_{method}', **fields})
    results = folder / made.name
    file = results / 'visualization' / f'{IMAGE}x4.png' if output is not None else None
    if file:
        file.parent.mkdir(parents=True)
        Image.fromarray(output).save(file)
    image = ImageRecord(scores={'psnr': psnr, 'ssim': ssim}, bicubic=BICUBIC, lq=f'{IMAGE}x4',
                        output=file and str(file))
    dataset = {**made.dataset, 'gt': str(folder / 'HR'), 'lq': str(folder / 'X4'), **(changes or {})}
    write_record(replace(made, images={IMAGE: image}, dataset=dataset),
                 results / 'records' / f'{dataset["name"]}.json')
    return results


def shown(axes):
    """The array that axes show as an image."""
    image, = axes.images
    return np.asarray(image.get_array())
