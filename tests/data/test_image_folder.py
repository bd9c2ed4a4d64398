"""A folder per class: real files of every mode, broken ones, and every form of the tree."""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nestling.data import Unreadable, image_folder
from nestling.errors import DataError, InputError, MissingExtraError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def put(path: Path, image: Image.Image | bytes | None = None, **options: Any) -> Path:
    """Write an image (by default one that no other call makes) or raw bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
        return path
    if image is None:
        noise = np.frombuffer(random.Random(str(path)).randbytes(16 * 16 * 3), np.uint8)
        image = Image.fromarray(noise.reshape(16, 16, 3))
    image.save(path, **options)
    return path


def tree(root: Path, classes: str = "ab", count: int = 4) -> Path:
    for name in classes:
        for i in range(count):
            put(root / name / f"{i}.png")
    return root


def pixels_of(root: Path, image: Image.Image | bytes, name: str, size: int = 16, channels: int = 3, **options: Any):
    """The tile of one image, read through the public function: (c, size, size)."""
    put(root / "one" / name, image, **options)
    put(root / "two" / "x.png")
    read = image_folder(root, size=size, channels=channels, val_fraction=0)
    assert read.unreadable == ()
    return read.train.pixels[0].astype(int)


def flat(tile: np.ndarray, colour: tuple[int, ...], tolerance: int = 2) -> bool:
    """Is the whole tile of this colour?"""
    return bool((abs(tile - np.array(colour)[:, None, None]) <= tolerance).all())


def halves(mode: str = "RGB", left: Any = RED, right: Any = BLUE, size: tuple[int, int] = (32, 32)) -> Image.Image:
    image = Image.new(mode, size, left)
    image.paste(Image.new(mode, (size[0] // 2, size[1]), right), (size[0] // 2, 0))
    return image


# --- modes -----------------------------------------------------------------------------------------------


def palette() -> Image.Image:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([*RED, *BLUE])
    return image


def deep_png(colour_type: int, values: tuple[int, ...], side: int = 8) -> bytes:
    """A 16-bit PNG by hand, since Pillow writes only the grey ones."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(f">{len(values)}H", *values) * side
    header = struct.pack(">IIBBBBB", side, side, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


MODES: dict[str, tuple[str, Callable[[], Image.Image | bytes], dict[str, Any], tuple[int, int, int]]] = {
    "rgb png": ("x.png", lambda: Image.new("RGB", (20, 20), (10, 200, 30)), {}, (10, 200, 30)),
    "rgb jpeg": ("x.jpg", lambda: Image.new("RGB", (20, 20), RED), {"quality": 95}, RED),
    "ycbcr jpeg": ("x.jpeg", lambda: Image.new("YCbCr", (20, 20), (76, 85, 255)), {"quality": 95}, RED),
    "cmyk jpeg": ("x.jpg", lambda: Image.new("CMYK", (20, 20), (0, 255, 255, 0)), {"quality": 95}, RED),
    "grey": ("x.png", lambda: Image.new("L", (20, 20), 77), {}, (77, 77, 77)),
    "grey jpeg": ("x.JPG", lambda: Image.new("L", (20, 20), 77), {}, (77, 77, 77)),
    "grey alpha clear": ("x.png", lambda: Image.new("LA", (20, 20), (0, 0)), {}, (255, 255, 255)),
    "grey alpha half": ("x.png", lambda: Image.new("LA", (20, 20), (0, 128)), {}, (127, 127, 127)),
    "rgba clear": ("x.png", lambda: Image.new("RGBA", (20, 20), (9, 9, 9, 0)), {}, (255, 255, 255)),
    "rgba half": ("x.png", lambda: Image.new("RGBA", (20, 20), (255, 0, 0, 128)), {}, (255, 127, 127)),
    "rgba webp": (
        "x.webp",
        lambda: Image.new("RGBA", (20, 20), (0, 0, 255, 0)),
        {"lossless": True},
        (255,) * 3,
    ),
    "palette": ("x.png", palette, {}, RED),
    "palette clear": ("x.png", palette, {"transparency": 0}, (255, 255, 255)),
    "palette alphas": ("x.png", palette, {"transparency": b"\x80\xff"}, (255, 127, 127)),
    "rgb key": ("x.png", lambda: Image.new("RGB", (20, 20), RED), {"transparency": RED}, (255, 255, 255)),
    "one bit white": ("x.png", lambda: Image.new("1", (20, 20), 1), {}, (255, 255, 255)),
    "one bit black": ("x.png", lambda: Image.new("1", (20, 20), 0), {}, (0, 0, 0)),
    "one bit clear": ("x.png", lambda: Image.new("1", (20, 20), 0), {"transparency": 0}, (255, 255, 255)),
    "16-bit grey middle": ("x.png", lambda: Image.new("I;16", (20, 20), 32768), {}, (128, 128, 128)),
    "16-bit grey white": ("x.png", lambda: Image.new("I;16", (20, 20), 65535), {}, (255, 255, 255)),
    "16-bit grey dark": ("x.png", lambda: Image.new("I;16", (20, 20), 1000), {}, (4, 4, 4)),
    "16-bit grey clear": ("x.png", lambda: Image.new("I;16", (20, 20), 7), {"transparency": 7}, (255,) * 3),
    "16-bit grey, by hand": ("x.png", lambda: deep_png(0, (32768,)), {}, (128, 128, 128)),
    "16-bit rgb": ("x.png", lambda: deep_png(2, (65535, 32768, 0)), {}, (255, 128, 0)),
    "16-bit rgba": ("x.png", lambda: deep_png(6, (65535, 0, 0, 32768)), {}, (255, 127, 127)),
    "16-bit grey alpha": ("x.png", lambda: deep_png(4, (0, 32768)), {}, (127, 127, 127)),
    "bmp": ("x.bmp", lambda: Image.new("RGB", (20, 20), GREEN), {}, GREEN),
    "gif": ("x.gif", lambda: palette(), {}, RED),
    "png named jpg": ("x.jpg", lambda: Image.new("RGB", (20, 20), GREEN), {"format": "PNG"}, GREEN),
}


@pytest.mark.parametrize("case", MODES)
def test_modes(case: str, tmp_path: Path) -> None:
    name, make, options, colour = MODES[case]
    tolerance = 2 if name.lower().endswith(("jpg", "jpeg")) else 0
    assert flat(pixels_of(tmp_path / "colour", make(), name, **options), colour, tolerance)
    grey = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
    assert flat(pixels_of(tmp_path / "grey", make(), name, channels=1, **options), (grey,))


def test_jpeg_is_written_as_the_case_says(tmp_path: Path) -> None:
    name, make, options, _ = MODES["cmyk jpeg"]
    with Image.open(put(tmp_path / name, make(), **options)) as image:
        assert image.mode == "CMYK"


@pytest.mark.parametrize(("suffix", "animated"), [("gif", {}), ("webp", {"lossless": True}), ("png", {})])
def test_an_animation_is_its_first_frame(tmp_path: Path, suffix: str, animated: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (GREEN, BLUE)]
    options = {"save_all": True, "append_images": frames[1:], "duration": 100, **animated}
    assert flat(pixels_of(tmp_path, frames[0], f"x.{suffix}", **options), GREEN)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Four corners of four colours, stored turned as each orientation says, come out upright."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = RED, GREEN, BLUE
    stored = {  # what a camera stores so that the viewer's turn gives `upright`
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "quality": 100} if suffix == "jpg" else {"exif": exif, "lossless": True}
    if suffix == "png":
        options = {"exif": exif}
    image = Image.fromarray(np.ascontiguousarray(stored))
    tile = pixels_of(tmp_path, image, f"x.{suffix}", size=32, **options)
    for (row, column), colour in zip([(6, 6), (6, 26), (26, 6), (26, 26)], [RED, GREEN, BLUE, (0, 0, 0)], strict=True):
        assert np.abs(tile[:, row, column] - colour).max() < 12


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 20), GREEN)
    assert flat(pixels_of(tmp_path, image, "x.jpg", exif=b"Exif\0\0garbage", quality=95), GREEN)


def test_the_shorter_side_is_scaled_and_the_centre_kept(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = RED, GREEN, BLUE
    middle = pixels_of(tmp_path / "w", Image.fromarray(wide), "x.png", size=10)[:, :, 2:8]
    assert flat(middle, GREEN, 20)
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    assert flat(pixels_of(tmp_path / "t", Image.fromarray(tall), "x.png", size=10)[:, 2:8], GREEN, 20)


def test_scaling_and_cropping_in_one_step_equals_two(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    image = Image.fromarray(noise)
    two = image.resize((40, 20), Image.Resampling.BICUBIC).crop((10, 0, 30, 20))
    tile = pixels_of(tmp_path, image, "x.png", size=20)
    assert np.abs(tile - np.asarray(two).transpose(2, 0, 1).astype(int)).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_antialiasing(tmp_path: Path, suffix: str) -> None:
    """A chessboard of single pixels becomes an even grey; picking pixels would leave black and white."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    tile = pixels_of(tmp_path, Image.fromarray(board), f"x.{suffix}", size=16)
    assert np.abs(tile - 127.5).max() < 4


def test_small_and_thin_images(tmp_path: Path) -> None:
    assert flat(pixels_of(tmp_path / "a", Image.new("RGB", (1, 1), RED), "x.png", size=64), RED)
    thin = Image.new("1", (1, 1_000_000), 1)  # scaled before the crop this would take 200 GB
    assert flat(pixels_of(tmp_path / "b", thin, "x.png", size=64), (255, 255, 255))


# --- broken files ----------------------------------------------------------------------------------------


def encoded(suffix: str) -> bytes:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    return stream.getvalue()


BROKEN: dict[str, tuple[str, Callable[[], bytes], str]] = {
    **{
        f"truncated {suffix}": (
            f"x.{suffix}",
            lambda suffix=suffix: encoded(suffix)[: len(encoded(suffix)) // 2],
            "",
        )
        for suffix in ("png", "jpg", "webp", "bmp", "gif")
    },
    "zero bytes": ("x.png", lambda: b"", "it is empty"),
    "text": ("x.png", lambda: b"not an image at all\n" * 20, "no image of a known format"),
    "postscript": (
        "x.png",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "no image of a known",
    ),
    "flipped png": ("x.png", lambda: encoded("png").replace(b"IDAT", b"IDAU"), ""),
    "bomb": ("x.png", lambda: deep_png(0, (0,), side=250), "at most 40000 pixels"),
    "large bomb": ("x.png", lambda: deep_png(0, (0,), side=300), "exceeds limit"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_unreadable_file_is_skipped_and_told(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    name, make, words = BROKEN[case]
    tree(tmp_path)
    bad = put(tmp_path / "b" / name, make())
    read = image_folder(tmp_path, size=8, val_fraction=0)
    assert len(read.train) == 8
    assert read.train.labels.tolist() == [0] * 4 + [1] * 4
    assert [item.path for item in read.unreadable] == [str(bad)]
    assert read.unreadable[0].reason
    assert words in read.unreadable[0].reason
    with pytest.raises(DataError, match=r"x\.\w+ cannot be read: .*\. Repair or remove it\."):
        image_folder(tmp_path, size=8, strict=True)


def test_damaged_bytes_never_raise(tmp_path: Path) -> None:
    """Truncations and flips of every format: each file is read or listed."""
    source = random.Random(5)
    tree(tmp_path, count=1)
    for suffix in ("png", "jpg", "webp", "bmp", "gif"):
        whole = encoded(suffix)
        for i in range(40):
            data = bytearray(whole[: source.randrange(len(whole))] if i % 2 else whole)
            for _ in range(8):
                if data:
                    data[min(source.randrange(len(data)), source.randrange(400)) % len(data)] ^= 1 << source.randrange(
                        8
                    )
            put(tmp_path / "a" / f"{suffix}{i}.{suffix}", bytes(data))
    read = image_folder(tmp_path, size=8, val_fraction=0)
    assert len(read.train) + len(read.unreadable) == 202
    assert len(read.unreadable) > 50


# --- the tree --------------------------------------------------------------------------------------------


def test_a_plain_tree_is_split(tmp_path: Path) -> None:
    tree(tmp_path, "cab", count=20)
    read = image_folder(tmp_path, size=8, seed=3)
    assert read.val is not None
    assert (len(read.train), len(read.val)) == (54, 6)
    assert read.train.classes == read.val.classes == ("a", "b", "c")
    assert np.bincount(read.val.labels).tolist() == [2, 2, 2]
    assert read.train.pixels.shape == (54, 3, 8, 8)
    for part in (read.train, read.val):
        assert list(part.paths or ()) == sorted(part.paths or ())
        assert [Path(path).parent.name for path in part.paths or ()] == [part.classes[i] for i in part.labels]
    again, other = (image_folder(tmp_path, size=8, seed=s, workers=1) for s in (3, 4))
    assert again.val is not None
    assert other.val is not None
    assert again.val.paths == read.val.paths != other.val.paths
    assert np.array_equal(again.train.pixels, read.train.pixels)
    assert image_folder(tmp_path, size=8, val_fraction=0).val is None


@pytest.mark.parametrize("name", ["val", "validation", "valid", "test"])
def test_a_tree_with_its_own_split(tmp_path: Path, name: str) -> None:
    tree(tmp_path / "train")
    tree(tmp_path / name, "b", count=2)
    read = image_folder(tmp_path, size=8)
    assert read.val is not None
    assert (len(read.train), len(read.val)) == (8, 2)
    assert read.val.classes == ("a", "b")
    assert read.val.labels.tolist() == [1, 1]
    assert all(f"/{name}/b/" in path for path in read.val.paths or ())


def test_the_test_folder_is_left_alone_beside_val(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2), ("val", 1)):
        tree(tmp_path / part, count=count)
    read = image_folder(tmp_path, size=8)
    assert read.val is not None
    assert all("/val/" in path for path in read.val.paths or ())


def test_train_alone_is_split(tmp_path: Path) -> None:
    tree(tmp_path / "train", count=10)
    read = image_folder(tmp_path, size=8, val_fraction=0.2)
    assert read.val is not None
    assert (len(read.train), len(read.val)) == (16, 4)


def test_train_may_be_a_class(tmp_path: Path) -> None:
    tree(tmp_path / "car", "rb", count=1)
    for name in ("0", "1", "steam/2"):
        put(tmp_path / "train" / f"{name}.png")
    read = image_folder(tmp_path, size=8, val_fraction=0)
    assert read.train.classes == ("car", "train")
    assert read.train.labels.tolist() == [0, 0, 1, 1, 1]


def test_duplicates_across_the_split_are_told(tmp_path: Path) -> None:
    tree(tmp_path / "train")
    tree(tmp_path / "val", count=2)
    copied = (tmp_path / "train" / "b" / "1.png").read_bytes()
    put(tmp_path / "val" / "a" / "9.png", copied)
    read = image_folder(tmp_path, size=8)
    assert read.duplicates.count == 1
    ((train_row, val_row),) = read.duplicates.examples
    assert (read.train.paths or ())[train_row].endswith("train/b/1.png")
    assert read.val is not None
    assert (read.val.paths or ())[val_row].endswith("val/a/9.png")


def test_a_lone_image_stays_in_train_and_is_told(tmp_path: Path) -> None:
    tree(tmp_path)
    put(tmp_path / "rare" / "x.png")
    read = image_folder(tmp_path, size=8)
    assert read.singles == ("rare",)
    assert read.val is not None
    assert 2 in read.train.labels
    assert 2 not in read.val.labels


def test_hidden_and_other_files_are_ignored_and_loose_ones_counted(tmp_path: Path) -> None:
    tree(tmp_path)
    for name in (".hidden/x.png", "a/.x.png", "a/.sub/x.png", "a/._0.png"):
        put(tmp_path / name, b"hidden")
    put(tmp_path / "a" / "notes.txt", b"text")
    put(tmp_path / "cover.png")
    put(tmp_path / "a" / "deeper" / "still" / "x.PNG")
    (tmp_path / "a" / "folder.png").mkdir()
    read = image_folder(tmp_path, size=8, val_fraction=0)
    assert len(read.train) == 9
    assert read.unreadable == ()
    assert read.loose == 1


def test_links_and_pipes_do_not_hang(tmp_path: Path) -> None:
    root, outside = tree(tmp_path / "root"), tree(tmp_path / "outside", "x", count=2)
    for name, target in {"up": root, "self": root / "a", "top": Path("/"), "again": outside / "x"}.items():
        (root / "a" / name).symlink_to(target)
    (root / "a" / "once-more").symlink_to(outside / "x")
    (outside / "x" / "back").symlink_to(root / "a")
    (root / "b" / "round").symlink_to(root / "b" / "round")
    (root / "b" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "b" / "pipe.png")
    read = image_folder(root, size=8, val_fraction=0)
    assert np.bincount(read.train.labels).tolist() == [4 + 2, 4]
    assert [Path(item.path).name for item in read.unreadable] == ["gone.png", "pipe.png"]
    assert all(item.reason.startswith("it is no regular file") for item in read.unreadable)


def test_folders_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played, since root may list everything."""
    locked = tree(tmp_path, count=2) / "a" / "locked"

    def refusing(listed: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def list_folder(folder: Path) -> Any:
            if folder == locked:
                raise PermissionError(13, "Permission denied")
            return listed(folder)

        return list_folder

    locked.mkdir()
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(Path, "iterdir", refusing(Path.iterdir))
    read = image_folder(tmp_path, size=8, val_fraction=0)
    assert read.unreadable == (Unreadable(str(locked), "Permission denied"),)
    assert len(read.train) == 4
    with pytest.raises(DataError, match=r"locked cannot be listed: Permission denied\. Check"):
        image_folder(locked)


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    tree(tmp_path, count=150)
    told: list[tuple[int, int]] = []
    image_folder(tmp_path, size=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 300), (300, 300)]


# --- sentences -------------------------------------------------------------------------------------------


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist\. Give a folder"):
        image_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is not a folder"):
        image_folder(put(tmp_path / "file" / "x.png"))
    with pytest.raises(DataError, match=r"found only 1 outside class folders\. Put them in"):
        image_folder(tmp_path / "file")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="found none"):
        image_folder(tmp_path / "empty")


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least two classes; got only 'a'\. With one class"):
        image_folder(tree(tmp_path, "a"))


@pytest.mark.parametrize(("content", "words"), [(None, "it holds none"), (b"", "bad.png: it is empty")])
def test_a_class_without_a_readable_image(tmp_path: Path, content: bytes | None, words: str) -> None:
    tree(tmp_path)
    (tmp_path / "c").mkdir()
    if content is not None:
        put(tmp_path / "c" / "bad.png", content)
    with pytest.raises(DataError, match=rf"class 'c' has no readable image .*{words}.*Add images or remove"):
        image_folder(tmp_path)


def test_validation_folders_that_do_not_fit(tmp_path: Path) -> None:
    tree(tmp_path / "train")
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="validation folder holds no images"):
        image_folder(tmp_path)
    tree(tmp_path / "val", "c")
    with pytest.raises(DataError, match="validation folder has the class 'c', which train lacks"):
        image_folder(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"channels": 4},
        {"val_fraction": 1.0},
        {"val_fraction": -0.1},
        {"workers": 0},
        {"seed": -1},
    ],
)
def test_arguments(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        image_folder(tree(tmp_path), **options)


def test_without_pillow_the_error_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nestling\[images\]'"):
        image_folder(tree_without_pillow(tmp_path))


def tree_without_pillow(root: Path) -> Path:
    for name in "ab":
        put(root / name / "x.png", b"")
    return root
