"""What is told of the icons with captions, and the sheet of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nestling.studies.icon_captions import caption_sheet, tell_captioned
from tests.data.icons.small import captioned
from tests.studies.collected import Collected


def test_what_is_told(tmp_path: Path) -> None:
    watch, data = Collected(), captioned(tmp_path)
    tell_captioned(data, 0, watch)
    assert watch.tables == [
        "Icons with captions, 32 × 32, split by family (seed 0)",
        "Licences",
        "Some of the test pictures",
    ]
    assert f"{len(data.train.captions.texts):,} captions in all" in watch.said[0]
    assert f"{data.copies:,} exact copies" in watch.said[0]
    assert watch.said[1].startswith("3 classes to ask for")


def test_the_sheet_shows_pictures_of_train_and_on_grey_of_test(tmp_path: Path) -> None:
    data = captioned(tmp_path)
    for name in ("a.png", "b.png"):
        caption_sheet(data, 0, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels[0, 0] == 255
    assert pixels[0, -1] == 232
    shown = 255 - pixels[4:68:2, 4:68:2]  # the first picture, twice as large as it is
    assert any(np.array_equal(shown, image[0]) for image in data.train.images)
