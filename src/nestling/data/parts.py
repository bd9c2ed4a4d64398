"""Which part of a data set a text belongs to, by its own bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from nestling.errors import InputError


def part_of(text: str, shares: Sequence[float]) -> int:
    """Which of several parts a text belongs to, by its own bytes: equal texts are in the same, on every machine.

    Args:
        shares: of all parts but the last, which gets the rest.
    """
    lot = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    for part, share in enumerate(shares):
        if lot < share:
            return part
        lot -= share
    return len(shares)


def of_part(texts: Iterable[str], part: int, shares: Sequence[float]) -> Iterator[str]:
    """Those texts that `part_of` puts there."""
    return (text for text in texts if part_of(text, shares) == part)


def held_out_texts(texts: Sequence[str], fraction: float) -> Bool[np.ndarray, " n"]:
    """Which of them are held out: the part of the last `fraction`, so that equal texts are on one side.

    Raises:
        InputError: a side would be empty.
    """
    held = np.array([part_of(text, (1 - fraction,)) == 1 for text in texts])
    if held.all() or not held.any():
        raise InputError.of("val_fraction", "one that leaves captions to both parts", fraction, "Change it.")
    return held
