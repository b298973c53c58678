"""ncnn's pair of files, made by pnnx."""
from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

from .quiet import quiet
from .runtimes import NCNN_BLOBS

UNKNOWN = re.compile(r'^(pnnx\.\S+|aten::\S+|torch\.\S+|F\.\S+|Tensor\.\S+)', re.MULTILINE)
"""What pnnx writes in place of a layer that ncnn does not have."""


def convert(network: nn.Module, traced: torch.Tensor, stem: Path) -> tuple[Path, Path]:
    """Write ``<stem>.param`` and ``.bin``, with the names of blobs that other programs expect; weights in float16.

    Raises:
        ValueError: pnnx fails, or ncnn lacks a layer.
    """
    import pnnx  # an optional package
    with quiet(), torch.inference_mode():
        pnnx.export(network, str(stem.with_suffix('.pt')), (traced, ), (traced.repeat(1, 1, 2, 2), ))
    made = [stem.with_name(f'{stem.name}.ncnn.{kind}') for kind in ('param', 'bin')]
    missing = [file.name for file in made if not file.is_file()]
    if missing:
        raise ValueError('pnnx has not converted it')
    text = re.sub(r'\bin0\b', NCNN_BLOBS[0], re.sub(r'\bout0\b', NCNN_BLOBS[1], made[0].read_text()))
    if unknown := UNKNOWN.search(text):
        raise ValueError(f'ncnn has no layer for {unknown[1]}')
    param, weights = stem.with_suffix('.param'), stem.with_suffix('.bin')
    param.write_text(text)
    made[1].replace(weights)
    return param, weights
