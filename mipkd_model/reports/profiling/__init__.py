"""What networks cost: parameters, multiply-accumulates, latency and peak memory."""

LR_SIZE = 256
"""LR side in pixels for multiply-accumulates, as usual for the compared pairs."""
PRECISIONS = ('fp32', 'bf16')
"""Of timed passes."""
