"""The same image drawn differently: how much of an accuracy hangs on the drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from nestling.errors import require_extra

Images = UInt8[np.ndarray, "n c s s"]


def rotated(images: Images, *, degrees: float = 15.0, seed: int = 0) -> Images:
    """Each image turned by up to so many degrees, either way."""
    pillow = require_extra("PIL.Image")
    angles = np.random.default_rng(seed).uniform(-degrees, degrees, len(images))
    turned = np.empty_like(images)
    for image, angle, out in zip(images, angles, turned, strict=True):
        for channel, place in zip(image, out, strict=True):
            place[:] = np.asarray(pillow.fromarray(channel).rotate(float(angle), pillow.Resampling.BILINEAR))
    return turned


def noisy(images: Images, *, strength: float = 60.0, seed: int = 0) -> Images:
    """Gaussian noise of so many grey values."""
    noise = np.random.default_rng(seed).normal(0, strength, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def pixelated(images: Images, *, factor: int = 2) -> Images:
    """Averaged over squares; what does not fill a square stays."""
    n, c, h, w = images.shape
    h2, w2 = h // factor, w // factor
    squares = images[:, :, : h2 * factor, : w2 * factor].reshape(n, c, h2, factor, w2, factor)
    means = np.rint(squares.mean(axis=(3, 5))).astype(np.uint8)
    found = images.copy()
    found[:, :, : h2 * factor, : w2 * factor] = means.repeat(factor, axis=2).repeat(factor, axis=3)
    return found


def thicker(images: Images) -> Images:
    """Each pixel the largest of its cross of five."""
    return _over_neighbours(images, np.maximum)


def thinner(images: Images) -> Images:
    """Each pixel the smallest of itself and the two below and to the right: strokes lose about a pixel."""
    found = images.copy()
    found[:, :, :-1] = np.minimum(found[:, :, :-1], images[:, :, 1:])
    found[:, :, :, :-1] = np.minimum(found[:, :, :, :-1], images[:, :, :, 1:])
    return found


CORRUPTIONS: Mapping[str, Callable[[Images], Images]] = {
    "rotated": rotated,
    "noisy": noisy,
    "pixelated": pixelated,
    "thicker": thicker,
    "thinner": thinner,
}


def _over_neighbours(images: Images, pick: np.ufunc) -> Images:
    found = images.copy()
    for axis in (2, 3):
        ahead, behind = [slice(None)] * 4, [slice(None)] * 4
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for to, of in ((ahead, behind), (behind, ahead)):
            found[tuple(to)] = pick(found[tuple(to)], images[tuple(of)])
    return found
