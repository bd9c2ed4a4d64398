"""Which part of a data set a text belongs to, by its own bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence


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
