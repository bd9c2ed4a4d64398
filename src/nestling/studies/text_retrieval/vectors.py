"""Vectors of many texts or pictures: computed once, block by block, and kept. A kill loses a block."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from nestling.studies.reproduce.kept import read_array, write_array
from nestling.studies.text_retrieval.encoders import Encoder
from nestling.studies.watch import Watch
from nestling.training.lock import waiting

_BLOCK = 4096


def kept_vectors(
    items: Sequence[str] | np.ndarray, encoder: Encoder, folder: Path, name: str, watch: Watch
) -> Float32[np.ndarray, "n d"]:
    """A vector of each, in order.

    Args:
        items: texts, or pictures (n, 1, s, s).
        folder: in which each set has a folder of its own, named by its content and by the encoder.
        name: for who waits.

    Raises:
        CheckpointError: what is kept is damaged.
    """
    place = folder / _digest(items, encoder)
    starts = range(0, len(items), _BLOCK)
    with waiting(place, watch.say), watch.task(f"encode {name}") as step:
        for at in starts:
            if not (place / f"{at}.npy").exists():
                write_array(place / f"{at}.npy", _encoded(items[at : at + _BLOCK], encoder))
            step(min(at + _BLOCK, len(items)), len(items), name)
    return np.concatenate([read_array(place, str(at)) for at in starts])


def _encoded(items: Any, encoder: Encoder) -> Float32[np.ndarray, "b d"]:
    order = np.argsort(encoder.cost(items), kind="stable")
    parts = []
    for at in range(0, len(order), encoder.batch):
        rows = order[at : at + encoder.batch]
        parts.append(encoder(items[rows] if isinstance(items, np.ndarray) else [items[int(row)] for row in rows]))
    found = np.concatenate(parts)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return np.ascontiguousarray(found[back], np.float32)


def _digest(items: Any, encoder: Encoder) -> str:
    if isinstance(items, np.ndarray):
        content = f"{items.shape} {zlib.crc32(np.ascontiguousarray(items).tobytes())}"
    else:
        content = "\n".join(items)
    return hashlib.sha256(f"{encoder.identity}\n{content}".encode()).hexdigest()[:16]
