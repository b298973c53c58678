"""Upscales images in a browser: a Gradio app, by onnxruntime on the CPU, for the ONNX file beside it."""
from pathlib import Path

import gradio as gr
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MAX_PIXELS = 1_000_000
TILE, OVERLAP = 256, 32  # pixels of the input
MODEL = sorted(Path(__file__).parent.glob('*.onnx'))[0]
SESSION = onnxruntime.InferenceSession(str(MODEL), providers=['CPUExecutionProvider'])
KNOWN = SESSION.get_modelmeta().custom_metadata_map
SCALE, MULTIPLE = int(KNOWN['scale']), int(KNOWN['size_multiple'])


def run(image: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) in [0, 1] -> (SCALE * H, SCALE * W, 3) by the network."""
    height, width = image.shape[:2]
    lq = np.pad(image, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), 'reflect')
    output, = SESSION.run(None, {'input': np.ascontiguousarray(lq.transpose(2, 0, 1)[None])})
    return output[0].transpose(1, 2, 0)[:height * SCALE, :width * SCALE]


def upscale_array(image: np.ndarray) -> np.ndarray:
    """As ``run``, in tiles that see ``OVERLAP`` pixels beyond their edges."""
    height, width = image.shape[:2]
    output = np.empty((height * SCALE, width * SCALE, 3), np.float32)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            above, before = min(top, OVERLAP), min(left, OVERLAP)
            part = run(image[top - above:top + TILE + OVERLAP, left - before:left + TILE + OVERLAP])
            part = part[above * SCALE:(above + TILE) * SCALE, before * SCALE:(before + TILE) * SCALE]
            target = output[top * SCALE:(top + TILE) * SCALE, left * SCALE:(left + TILE) * SCALE]
            target[:] = part[:target.shape[0], :target.shape[1]]
    return output


def upscale(image: Image.Image | None) -> tuple[Image.Image, Image.Image]:
    """Bicubic and the network's image of an image."""
    if image is None:
        raise gr.Error('Choose an image first.')
    image = ImageOps.exif_transpose(image).convert('RGB')
    if image.width * image.height > MAX_PIXELS:
        raise gr.Error(f'The image has {image.width}x{image.height} pixels; this page takes at most '
                       f'{MAX_PIXELS // 10**6} million.')
    output = upscale_array(np.asarray(image, np.float32) / 255)
    upscaled = Image.fromarray(np.rint(output.clip(0, 1) * 255).astype(np.uint8))
    return image.resize(upscaled.size, Image.Resampling.BICUBIC), upscaled


with gr.Blocks(title=MODEL.stem) as demo:
    gr.Markdown(f'# {MODEL.stem}\nSuper-resolution x{SCALE}. Left of the slider: bicubic; right: the network.')
    chosen = gr.Image(type='pil', label='Image')
    button = gr.Button('Upscale', variant='primary')
    slider = gr.ImageSlider(type='pil', label='Bicubic | network', format='png')
    button.click(upscale, inputs=chosen, outputs=slider)

if __name__ == '__main__':
    demo.launch()
