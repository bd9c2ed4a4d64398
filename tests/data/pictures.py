"""Trees of small picture files, drawn or scanned, shared by tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def tree(folder: Path, *, classes: int = 3, each: int = 8, side: int = 40) -> Path:
    """One folder per class of JPEG and PNG; the brightest of `classes` bands tells the class."""
    rng = np.random.default_rng(3)
    band = side // classes
    for label in range(classes):
        (folder / f"class-{label}").mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 100, (side, side + 8, 3), dtype=np.uint8)
            pixels[label * band : (label + 1) * band] += 150
            Image.fromarray(pixels).save(folder / f"class-{label}" / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder


def handwriting(folder: Path, *, classes: int = 3, each: int = 8, side: int = 40) -> Path:
    """One folder per digit of scikit-learn's scans of handwriting (8 × 8, enlarged), JPEG and PNG."""
    found = load_digits()
    for label in range(classes):
        (folder / f"class-{label}").mkdir(parents=True)
        for i, row in enumerate(np.flatnonzero(found.target == label)[:each]):
            scan = Image.fromarray((found.images[row] * 15.9).astype(np.uint8))
            scan.resize((side, side)).save(folder / f"class-{label}" / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder
