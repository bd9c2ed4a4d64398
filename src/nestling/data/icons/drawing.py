"""An SVG icon as grey pixels: black on white, square on its longer side, in the middle."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8

from nestling.data.icons.archive import Drawing
from nestling.errors import require_extra


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
