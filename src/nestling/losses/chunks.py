"""How many rows a chunk of logits holds, so that memory is bounded whatever the batch."""

from __future__ import annotations

import torch

CACHED_BYTES = 16 << 20
"""A chunk that a processor's caches hold."""
GPU_BYTES = 256 << 20
"""A chunk that fills a GPU."""
EFFICIENT_ROWS = 128
"""Fewer rows make thin matrix products, bound by reading the weights: 128 rows of 18,000 classes run 1.3× faster than
64, though they leave the cache (docs/LOG.md, 2026-11-22)."""
MOST_BYTES = 128 << 20
"""What `EFFICIENT_ROWS` may cost at most."""


def row_chunks(rows: int, bytes_per_row: int, device: torch.device) -> list[slice]:
    """Cut `rows` into equal chunks: cache-sized, but not thinner than is efficient, unless that were huge."""
    cached = (GPU_BYTES if device.type == "cuda" else CACHED_BYTES) // bytes_per_row
    most = max(cached, min(EFFICIENT_ROWS, MOST_BYTES // bytes_per_row), 1)
    count = -(-rows // most)
    size = max(-(-rows // max(count, 1)), 1)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
