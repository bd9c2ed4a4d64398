from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nestling.data.decoding import Decoder, View
from nestling.errors import InputError


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    crop=st.floats(0.05, 1),
    seed=st.integers(0, 1000),
)
def test_random_crops_lie_inside_and_keep_area_and_shape(width: int, height: int, crop: float, seed: int) -> None:
    box = View(side=8, crop=crop, flip=True).box(width, height, np.random.default_rng(seed))
    assert 0 <= box.left <= width - box.width
    assert 0 <= box.top <= height - box.height
    area, slack = box.width * box.height, width + height + 1  # sides are rounded
    centre = box.width == box.height == min(width, height)  # where no crop of the wanted shape fits
    assert centre or crop * width * height - slack <= area
    assert centre or 3 / 4 * (box.height - 1) <= box.width + 1


def test_crops_differ_by_generator_and_half_are_mirrored() -> None:
    view = View(side=8, crop=0.2, flip=True)
    boxes = [view.box(100, 80, np.random.default_rng(i)) for i in range(200)]
    assert len(set(boxes)) == 200
    assert 70 < sum(box.mirrored for box in boxes) < 130
    assert not any(View(side=8, crop=0.2).box(9, 9, np.random.default_rng(i)).mirrored for i in range(20))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("seed", range(8))
def test_pixels_are_those_of_cutting_first_and_scaling_then(tmp_path: Path, suffix: str, seed: int) -> None:
    """JPEGs are decoded small where that is enough: the oracle decodes everything."""
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((900, 600))
    path = tmp_path / f"x.{suffix}"
    smooth.save(path, quality=95)
    view = View(side=32, crop=0.1, flip=True)
    box = view.box(900, 600, np.random.default_rng(seed))
    whole = Image.open(path).convert("RGB").crop((box.left, box.top, box.left + box.width, box.top + box.height))
    wanted = np.asarray(whole.resize((32, 32), Image.Resampling.BICUBIC)).astype(int)
    wanted = wanted[:, ::-1] if box.mirrored else wanted
    for source in (path, path.read_bytes()):
        got = Decoder().decode(source, view, np.random.default_rng(seed)).transpose(1, 2, 0).astype(int)
        assert np.abs(got - wanted).mean() < 2
        assert np.abs(got - wanted).max() < 24


def test_a_turned_photograph_is_cropped_as_it_is_seen(tmp_path: Path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 100:] = 255  # lies: turned by EXIF it stands at the bottom
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif, quality=95)
    upright = Decoder().decode(tmp_path / "x.jpg", View(side=32, crop=1.0), np.random.default_rng(0))
    assert upright.shape == (3, 32, 32)
    centre = Decoder().decode(tmp_path / "x.jpg", View(side=32, inside=0.5))
    assert centre.max() < 20  # rows 48 … 80 of 128: all dark


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"side": 0}, "size must be a positive number"),
        ({"side": 8, "channels": 2}, "channels must be 1"),
        ({"side": 8, "inside": 0.0}, "inside must be above 0"),
        ({"side": 8, "crop": 1.5}, "crop must be above 0"),
    ],
)
def test_views_that_cannot_be_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        View(**wrong)
