"""A trained student made ready for use: exported to other formats, run from any of them, described by a card."""

FORMATS = ('pth', 'safetensors', 'onnx', 'onnx-fp16', 'ncnn')
"""Of ``mipkd export``."""
INT8 = 'onnx-int8'
"""One more, which needs photographs for its calibration."""
TILE, OVERLAP = 384, 32
"""Side of the parts that larger images are run in, and what they see beyond their edges; pixels of lq."""
