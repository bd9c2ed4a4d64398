"""From an archive to images: what is drawn, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestling.data.icons import archive as archives
from nestling.data.icons.archive import Drawing, icon_sets, the_archive
from nestling.data.icons.drawing import Pen
from nestling.data.icons.pack import Pack, build, load, pack_of, save
from nestling.data.icons.recipe import Recipe
from nestling.errors import ChecksumError, DataError
from tests.data.icons.small import archive, info, shape, twelve


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A machine whose folder of fetched data has a small archive."""
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path))
    return archive(tmp_path / "icons" / "iconify-json-test.tgz", *twelve())


def packed(recipe: Recipe) -> Pack:
    return pack_of(recipe, 32, fetch=False, say=lambda _: None, progress=None)


def test_a_pack_of_all_classes_that_enough_sets_draw(recipe: Recipe) -> None:
    pack = packed(recipe)
    assert pack.sets_of_classes() == {"home": 12, "minus": 12, "plus": 12}
    assert pack.pixels.shape == (36, 32, 32)
    assert {origin.style for origin in pack.origins} == {"", "outline", "2", "fill", "bold"}
    assert pack.licences["own03"] == ("A set", "Somebody", "MIT", "https://x.test")
    assert pack.not_drawn == 0


def test_the_second_time_it_is_read(recipe: Recipe, tmp_path: Path) -> None:
    first = packed(recipe)
    (tmp_path / "icons" / "iconify-json-test.tgz").unlink()
    again = packed(recipe)
    assert np.array_equal(first.pixels, again.pixels)
    assert (first.origins, first.licences) == (again.origins, again.licences)


def test_two_builds_are_equal_bytes(recipe: Recipe, tmp_path: Path) -> None:
    path = the_archive(recipe, fetch=False, say=lambda _: None)
    for name in ("a", "b"):
        save(build(icon_sets(path, recipe), recipe, 32), tmp_path / name)
    assert (tmp_path / "a" / "manifest.jsonl").read_bytes() == (tmp_path / "b" / "manifest.jsonl").read_bytes()
    assert (tmp_path / "a" / "pixels.npz").read_bytes() == (tmp_path / "b" / "pixels.npz").read_bytes()


def test_the_manifest_tells_the_licence_of_every_image(recipe: Recipe, tmp_path: Path) -> None:
    pack = packed(recipe)
    lines = (tmp_path / "icons" / "test-32px-1" / "manifest.jsonl").read_text().splitlines()[1:]
    assert [json.loads(line)["licence"] for line in lines] == ["MIT"] * len(pack.pixels)


def test_sets_without_a_free_licence_and_blank_icons_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path))
    sets, infos = twelve()
    sets["paid"] = {"icons": {"home": shape("home")}, "width": 24, "height": 24}
    infos["paid"] = info("proprietary")
    sets["own00"]["icons"]["home-bold"] = {"body": "<g/>"}
    sets["own00"]["icons"]["home-thin"] = {"body": "<path d='"}
    pack = packed(archive(tmp_path / "icons" / "iconify-json-test.tgz", sets, infos))
    assert "paid" not in pack.licences
    assert pack.not_drawn == 2


def test_a_damaged_pack_is_told(recipe: Recipe, tmp_path: Path) -> None:
    packed(recipe)
    folder = tmp_path / "icons" / "test-32px-1"
    pixels, manifest = folder / "pixels.npz", folder / "manifest.jsonl"
    good = pixels.read_bytes()
    pixels.write_bytes(good[:-9] + b"x" + good[-8:])
    with pytest.raises(ChecksumError, match="Delete"):
        load(folder)
    pixels.write_bytes(good)
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match="36 images and the origins of 35"):
        load(folder)
    for text in ("", "{}", "[1]", "{", '{"sha256": 1}\n{}'):
        manifest.write_text(text)
        with pytest.raises(DataError, match="Delete"):
            load(folder)


def test_an_archive_that_is_none(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "icons" / "iconify-json-test.tgz"
    with pytest.raises(ChecksumError):
        the_archive(archive(tmp_path / "other.tgz", {}, {}), fetch=False, say=lambda _: None)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="no archive of icon sets"):
        list(icon_sets(path, recipe))
    path.unlink()
    with pytest.raises(DataError, match=r"npm pack @iconify/json@test.* gives at .*iconify-json-test\.tgz"):
        the_archive(recipe, fetch=False, say=lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm is not on this machine"):
        the_archive(recipe, fetch=True, say=lambda _: None)


@pytest.mark.parametrize(
    ("sets", "infos"),
    [
        ({"a": {"icons": 3}}, {"a": info()}),
        ({"a": {}}, {"a": info()}),
        ({"a": {"icons": {"home": {}}}}, {"a": info()}),
        ({"a": {"icons": {"home": {"body": "", "width": "wide"}}}}, {"a": info()}),
        ({}, {}),
    ],
)
def test_sets_that_are_none(tmp_path: Path, sets: dict[str, object], infos: dict[str, object]) -> None:
    path = tmp_path / "x.tgz"
    with pytest.raises(DataError, match="no archive of icon sets"):
        list(icon_sets(path, archive(path, sets, infos)))  # type: ignore[arg-type]


def test_a_member_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.tgz"
    lists = archive(path, *twelve())
    monkeypatch.setattr(archives, "_MEMBER_BYTES", 100)
    with pytest.raises(DataError, match="sensible size"):
        list(icon_sets(path, lists))


def test_drawings_are_square_centred_and_ink_is_255() -> None:
    box = '<path fill="currentColor" d="M0 0 H8 V4 H0 Z"/>'
    pixels = Pen(32).draw(Drawing("wide", 0, 0, 8, 4, box))
    assert pixels is not None
    expected = np.zeros((32, 32), np.uint8)
    expected[8:24] = 255
    assert np.array_equal(pixels, expected)
    moved = Pen(32).draw(Drawing("moved", -4, -2, 8, 4, '<path fill="currentColor" d="M-4 -2 H4 V2 H-4 Z"/>'))
    assert np.array_equal(moved, expected)
