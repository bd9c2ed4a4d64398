"""Random numbers that are a pure function of a key: what makes a resumed run the same run."""

from __future__ import annotations

import numpy as np

ORDER, AUGMENT, MODEL, PREFIXES, PICTURE, STAND_IN, CAPTION, MASK = range(8)
"""Streams that must not meet: the second number of a key."""


def drawn(*key: int) -> np.random.Generator:
    """A generator of its own for each key of whole numbers that are not negative."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
