"""A picture file, or its bytes, to a square of pixels: the whole picture, its centre, or a random part of it."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.errors import InputError, require_extra

# Pillow recognises files by content; without this list a PostScript file named .png would start Ghostscript.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_ASPECT = math.log(4 / 3)  # how far a random crop may be from a square, either way
_TRIES = 10
_SIDEWAYS = 5  # EXIF orientations from here on swap width and height
_ORIENTATION = 0x0112


class Box(NamedTuple):
    """A part of a picture, in pixels, and whether it is mirrored."""

    left: float
    top: float
    width: float
    height: float
    mirrored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which part of a picture is seen, and at which size.

    Attributes:
        side: pixels of a side of what comes out.
        channels: 3 (RGB) or 1 (grey).
        inside: what part of the shorter side the centre crop keeps; .875 is the customary 224 of 256.
        crop: the smallest part of the area that a random crop keeps (Szegedy et al. 2015; .08 is customary); None
            for the centre.
        flip: mirror every second picture.

    Raises:
        InputError: a value is out of range.
    """

    side: int
    channels: int = 3
    inside: float = 1.0
    crop: float | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InputError.of("size", "a positive number of pixels", self.side)
        if self.channels not in (1, 3):
            raise InputError.of("channels", "1 (grey) or 3 (colour)", self.channels)
        if not 0 < self.inside <= 1:
            raise InputError.of("inside", "above 0 and at most 1", self.inside)
        if self.crop is not None and not 0 < self.crop <= 1:
            raise InputError.of("crop", "above 0 and at most 1, or none", self.crop)

    def box(self, width: int, height: int, rng: np.random.Generator | None) -> Box:
        """The part of a picture of this size; without a generator the centre, not mirrored."""
        if rng is None:
            return self._centre(width, height)
        mirrored = bool(rng.random() < 0.5) and self.flip
        if self.crop is None:
            return self._centre(width, height)._replace(mirrored=mirrored)
        for _ in range(_TRIES):
            area, shape = rng.uniform(self.crop, 1) * width * height, math.exp(rng.uniform(-_ASPECT, _ASPECT))
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= width and 0 < h <= height:
                return Box(int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h, mirrored)
        return self._centre(width, height)._replace(mirrored=mirrored)

    def _centre(self, width: int, height: int) -> Box:
        side = min(width, height) * self.inside
        return Box((width - side) / 2, (height - side) / 2, side, side, False)


class Decoder:
    """Turns files into pixels; everything in a file is untrusted.

    Raises:
        MissingExtraError: Pillow is not installed.
    """

    def __init__(self) -> None:
        self.pil: ModuleType = require_extra("PIL.Image")
        self.ops: ModuleType = require_extra("PIL.ImageOps")

    def attempt(
        self, source: Path | bytes, view: View, rng: np.random.Generator | None = None
    ) -> UInt8[np.ndarray, "c s s"] | str:
        """The pixels of a file or of its bytes as `view` sees them, or the reason why there are none."""
        try:
            if isinstance(source, Path) and not source.is_file():
                return "it is no regular file (a dangling link, a pipe)"
            if (source.stat().st_size if isinstance(source, Path) else len(source)) == 0:
                return "it is empty"
            return self.decode(source, view, rng)
        except self.pil.UnidentifiedImageError:
            return "it is no image of a known format"
        # Pillow's decoders raise whatever their bytes lead to: OSError, ValueError, SyntaxError,
        # struct.error, zlib.error, IndexError, OverflowError, DecompressionBombError, even MemoryError.
        except Exception as error:
            return str(error).rstrip(".") or type(error).__name__

    def decode(
        self, source: Path | bytes, view: View, rng: np.random.Generator | None = None
    ) -> UInt8[np.ndarray, "c s s"]:
        """The pixels; whatever Pillow raises."""
        with self.pil.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
            self._refuse_bomb(image)
            sideways = image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS
            width, height = image.size[::-1] if sideways else image.size
            box = view.box(width, height, rng)
            # A photograph of 12 megapixels is decoded at an eighth of its size; twice the wanted size stays,
            # so that the antialiasing below still has pixels to average.
            scale = 2 * view.side / min(box.width, box.height)
            image.draft(None, tuple(math.ceil(scale * side) for side in image.size))
            flat = self._flat(self.ops.exif_transpose(image), view.channels)
        return self._cut(flat, box, (flat.width / width, flat.height / height), view)

    def _cut(self, image: Any, box: Box, scale: tuple[float, float], view: View) -> UInt8[np.ndarray, "c s s"]:
        """Crop and scale in one step: a picture of 1 × 1,000,000 pixels scaled first would fill the memory."""
        x, y = scale
        corners = (box.left * x, box.top * y, (box.left + box.width) * x, (box.top + box.height) * y)
        inside = (corners[0], corners[1], min(corners[2], image.width), min(corners[3], image.height))
        seen = image.resize((view.side, view.side), self.pil.Resampling.BICUBIC, box=inside)
        tile = np.asarray(seen).reshape(view.side, view.side, view.channels)
        return np.ascontiguousarray((tile[:, ::-1] if box.mirrored else tile).transpose(2, 0, 1))

    def _refuse_bomb(self, image: Any) -> None:
        """Pillow warns above its limit and raises above twice the limit; here the limit is the limit."""
        limit = self.pil.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            raise InputError.of("the image", f"at most {limit} pixels (Pillow's limit)", image.size)

    def _flat(self, image: Any, channels: int) -> Any:
        """One 8-bit mode without transparency: RGB or L."""
        if image.mode.startswith("I"):
            image = self._eight_bits(image)
        elif image.has_transparency_data:
            colours = image.convert("RGBA")
            image = self.pil.alpha_composite(self.pil.new("RGBA", colours.size, "white"), colours)
        return image.convert("RGB" if channels == 3 else "L")

    def _eight_bits(self, image: Any) -> Any:
        """16-bit grey to 8 bits: 65,535 / 257 = 255. Pillow's own conversion clips at 255 instead."""
        deep = np.array(image, np.int64).clip(0, 65_535)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            deep[deep == clear] = 65_535
        return self.pil.fromarray(((deep + 128) // 257).astype(np.uint8))
