"""An SVG icon as grey pixels: black on white, square on its longer side, in the middle."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from nestling.data.icons.archive import Drawing
from nestling.errors import require_extra

Progress = Callable[[int, int, str], object]


class Pen:
    """Draws at one size.

    Args:
        size: pixels of a side.

    Raises:
        MissingExtraError: resvg or Pillow is not installed.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.svg, self.pillow = require_extra("resvg_py"), require_extra("PIL.Image")

    def draw(self, icon: Drawing) -> UInt8[np.ndarray, "s s"] | None:
        """255 where there is ink, 0 where there is none; None if it cannot be drawn or nothing is seen."""
        side = max(icon.width, icon.height)
        left, top = icon.left - (side - icon.width) / 2, icon.top - (side - icon.height) / 2
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" color="#000" '
            f'width="{self.size}" height="{self.size}" viewBox="{left:g} {top:g} {side:g} {side:g}">{icon.body}</svg>'
        )
        try:
            png = self.svg.svg_to_bytes(
                svg_string=text, width=self.size, height=self.size, background="#ffffff", skip_system_fonts=True
            )
        except ValueError:
            return None
        with self.pillow.open(io.BytesIO(png), formats=("PNG",)) as image:
            pixels = 255 - np.asarray(image.convert("L"))
        return pixels if pixels.any() else None


def draw_all(
    icons: Sequence[Drawing], size: int, progress: Progress | None = None
) -> tuple[UInt8[np.ndarray, "n s s"], Int64[np.ndarray, " n"]]:
    """The pixels of the icons that come out, and which icons they are, in order.

    Args:
        icons: to draw.
        size: pixels of a side.
        progress: called as ``progress(done, total, words)``.

    Raises:
        MissingExtraError: resvg or Pillow is not installed.
    """
    pen, rows = Pen(size), list[int]()
    pixels = np.empty((len(icons), size, size), np.uint8)
    for row, icon in enumerate(icons):
        image = pen.draw(icon)
        if image is not None:
            pixels[len(rows)] = image
            rows.append(row)
        if progress is not None and (row % 500 == 499 or row + 1 == len(icons)):
            progress(row + 1, len(icons), "icons drawn")
    return pixels[: len(rows)], np.array(rows, np.int64)
