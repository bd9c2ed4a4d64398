"""Icons with captions: from an archive to parts of a split."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.data import data_folder
from nestling.data.icons import caption_lists, captioned_icons, icons
from nestling.data.icons.archive import Drawing, icon_sets
from nestling.data.icons.caption_pack import CaptionPack, caption_pack_of
from nestling.data.icons.captions import CaptionedIcons, Captions, numbered, split_captions
from nestling.data.icons.drawing import Pen
from nestling.data.icons.naming import Names
from nestling.data.icons.pack import Licence, Origin, Pack
from nestling.data.icons.recipe import Recipe
from nestling.data.icons.recipe import recipe as the_recipe
from nestling.data.icons.wording import key_of
from nestling.errors import ChecksumError, DataError, InputError
from tests.data.icons.small import archive, thirty

NAMES = Names(the_recipe())


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A machine whose folder of fetched data has a small archive."""
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path))
    return archive(tmp_path / "icons" / "iconify-json-test.tgz", *thirty())


def packed(recipe: Recipe) -> CaptionPack:
    return caption_pack_of(recipe, caption_lists(), 32, fetch=False, say=lambda _: None, progress=None)


def split(recipe: Recipe, seed: int = 0) -> CaptionedIcons:
    return split_captions(packed(recipe), caption_lists().widened(recipe), fewest_sets=20, seed=seed)


def made(pictures: list[tuple[str, str, int, str]]) -> CaptionPack:
    """A pack of (set, class, drawing, captions with | between)."""
    shades = np.array([shade for _, _, shade, _ in pictures], np.uint8)
    pixels = np.zeros((len(pictures), 32, 32), np.uint8)
    pixels[:, 4:20, 4:20] = np.tri(16, dtype=np.uint8) * shades[:, None, None]
    origins = tuple(Origin(shows, prefix, f"i{row}", "") for row, (prefix, shows, _, _) in enumerate(pictures))
    licences = {prefix: Licence("", "", "MIT", "") for prefix, *_ in pictures}
    return CaptionPack(Pack(pixels, origins, licences, 0), tuple(tuple(said.split("|")) for *_, said in pictures))


def test_every_icon_that_may_be_told_is_there_with_its_captions(recipe: Recipe) -> None:
    found = packed(recipe)
    told = {(o.set, o.name): said for o, said in zip(found.pack.origins, found.captions, strict=True)}
    assert told["own00", "house-outline"] == ("house", "house, outlined", "house, buildings", "residence")
    assert told["own01", "home"] == ("home", "home, buildings", "residence")
    assert told["own01", "home-bold"] == ("home", "home, bold")
    assert told["own04", "plus-4"] == ("plus",)
    assert told["own04", "minus-down"] == ("minus down",)
    assert told["twemoji", "grinning-face"] == ("grinning face", "grinning face, emoji")
    # an alias of nothing, a brand, a flag, and white on white
    absent = {("own01", "lost"), ("own07", "only-here"), ("twemoji", "flag-france"), ("twemoji", "white-circle")}
    assert not absent & told.keys()
    assert len(told) == 30 * 5 - 1 + 2
    assert found.pack.not_drawn == 1


def test_what_is_no_data_set_of_classes_has_no_class(recipe: Recipe) -> None:
    found = packed(recipe)
    assert {o.shows for o in found.pack.origins if o.set == "twemoji" or o.name == "minus-down"} == {""}
    assert {o.shows for o in found.pack.origins if o.set == "own01"} == {"", "home", "minus", "plus"}


def test_an_icon_that_is_another_one_turned(recipe: Recipe) -> None:
    found = packed(recipe)
    places = {(o.set, o.name): row for row, o in enumerate(found.pack.origins)}
    straight, turned = (found.pack.pixels[places["own00", name]] for name in ("minus", "minus-down"))
    assert straight.any(axis=0).sum() > straight.any(axis=1).sum()  # broad
    # the edges lie between pixels, and are rounded differently
    assert np.abs(np.rot90(straight, -1).astype(int) - turned).max() < 16


@pytest.mark.parametrize(
    ("alias", "oracle"),
    [
        ({"hFlip": True}, lambda x: x[:, ::-1]),
        ({"vFlip": True}, lambda x: x[::-1]),
        ({"rotate": 1}, lambda x: np.rot90(x, -1)),
        ({"rotate": 2, "hFlip": True}, lambda x: x[::-1]),
        ({"rotate": 3, "vFlip": True}, lambda x: np.rot90(x[::-1], 1)),
    ],
)
@pytest.mark.parametrize("width", [24, 16])
def test_turns_and_mirrors_are_those_of_the_pixels(tmp_path: Path, alias: object, oracle: object, width: int) -> None:
    body = '<path fill="currentColor" d="M3 6 H15 V9 H6 V18 H3 Z"/>'
    sets = {"x": {"icons": {"a": {"body": body}}, "aliases": {"b": {"parent": "a"} | alias}, "width": width}}  # type: ignore[operator]
    sets["x"] |= {"height": 24, "left": 0}
    path = tmp_path / "x.tgz"
    (found,) = icon_sets(path, archive(path, sets, {"x": thirty()[1]["own00"]}))
    (other,) = found.turned
    assert found.other_names == {}
    straight, turned = Pen(48).draw(found.drawings[0]), Pen(48).draw(other)
    assert isinstance(other, Drawing)
    assert straight is not None
    assert turned is not None
    assert np.array_equal(turned, oracle(straight))  # type: ignore[operator]


def test_the_second_time_it_is_read(recipe: Recipe, tmp_path: Path) -> None:
    first = packed(recipe)
    (tmp_path / "icons" / "iconify-json-test.tgz").unlink()
    again = packed(recipe)
    assert np.array_equal(first.pack.pixels, again.pack.pixels)
    assert (first.pack.origins, first.pack.licences, first.captions) == (
        again.pack.origins,
        again.pack.licences,
        again.captions,
    )


def test_two_builds_are_equal_bytes(recipe: Recipe, tmp_path: Path) -> None:
    folder, found = tmp_path / "icons" / "captions-test-32px-1", []
    for _ in range(2):
        packed(recipe)
        found.append([(folder / name).read_bytes() for name in ("pixels.npz", "manifest.jsonl")])
        (folder / "manifest.jsonl").unlink()
    assert found[0] == found[1]


def test_the_manifest_tells_the_licence_of_every_image(recipe: Recipe, tmp_path: Path) -> None:
    found = packed(recipe)
    lines = (tmp_path / "icons" / "captions-test-32px-1" / "manifest.jsonl").read_text().splitlines()[1:]
    licences = [json.loads(line)["licence"] for line in lines]
    assert set(licences) == {"MIT", "CC0-1.0", "CC-BY-4.0"} <= the_recipe().licences
    assert licences == [found.pack.licences[origin.set].licence for origin in found.pack.origins]


def test_a_damaged_pack_is_told(recipe: Recipe, tmp_path: Path) -> None:
    packed(recipe)
    folder = tmp_path / "icons" / "captions-test-32px-1"
    for name in ("pixels.npz", "manifest.jsonl"):
        good = (folder / name).read_bytes()
        at = good.rindex(b"residence") if name == "manifest.jsonl" else len(good) - 9
        (folder / name).write_bytes(good[:at] + b"x" + good[at + 1 :])
        with pytest.raises(ChecksumError, match="Delete"):
            packed(recipe)
        (folder / name).write_bytes(good)
    packed(recipe)
    for text in ("{}", "[1]", "{"):
        (folder / "manifest.jsonl").write_text(text)
        with pytest.raises(DataError, match="Delete"):
            packed(recipe)


def test_an_image_without_captions_is_no_pack(recipe: Recipe, tmp_path: Path) -> None:
    packed(recipe)
    manifest = tmp_path / "icons" / "captions-test-32px-1" / "manifest.jsonl"
    first, *lines = manifest.read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"captions": []})
    head = {key: value for key, value in json.loads(first).items() if key != "lines_sha256"}
    manifest.write_text("\n".join([json.dumps(head), *lines]))
    with pytest.raises(DataError, match="no caption"):
        packed(recipe)


@pytest.mark.parametrize("seed", range(4))
def test_no_family_on_two_sides_and_no_drawing_twice_in_a_group(recipe: Recipe, seed: int) -> None:
    data = split(recipe, seed)
    parts = (data.train, data.val, data.test)
    sides = [{data.families[n] for n in part.families} for part in parts]
    assert not any(one & other for one, other in combinations(sides, 2))
    assert [len(side) for side in sides] == [22, 3, 6]
    assert "twemoji" in sides[0]  # a family that the data sets of classes lack only trains
    seen = [(g, image.tobytes()) for part in parts for g, image in zip(part.groups, part.images, strict=True)]
    assert len(set(seen)) == len(seen)
    assert len(seen) + data.copies == len(packed(recipe).captions)
    assert data.copies >= 30  # home-bold


def test_groups_are_equal_just_where_captions_say_the_same(recipe: Recipe) -> None:
    captions = split(recipe).train.captions
    keys = [key_of(text, NAMES) for text in captions.texts]
    for one, other in combinations(range(len(keys)), 2):
        assert (captions.groups[one] == captions.groups[other]) == (keys[one] == keys[other])


def test_classes_and_what_train_calls_them(recipe: Recipe) -> None:
    data = split(recipe)
    assert data.classes == ("home", "minus", "plus")
    assert data.prompts == ("home", "minus", "plus")
    for part in (data.train, data.val, data.test):
        for row, name in enumerate(part.names):
            main = part.captions[row][0]
            expected = "" if name in ("twemoji:home",) else {"house": "home"}.get(main, main)
            assert (data.classes.index(expected) if expected in data.classes else -1) == part.classes[row]
    asked = [int((data.test.classes == label).sum()) for label in range(3)]
    assert data.scored.tolist() == [count >= 5 for count in asked]


def test_a_prompt_is_what_train_says_most_often_the_first_of_the_alphabet_among_equals() -> None:
    sets = [f"s{number:02d}" for number in range(20)]
    pictures = [(prefix, "thing", row, "gear" if row % 2 else "cog") for row, prefix in enumerate(sets)]
    data = split_captions(made(pictures), the_recipe(), fewest_sets=20, seed=0)
    mains = [data.train.captions[row][0] for row in range(len(data.train))]
    expected = min(("cog", "gear"), key=lambda text: (-mains.count(text), text))
    assert (data.classes, data.prompts) == (("thing",), (expected,))


def test_the_training_copy_wins_and_a_copy_of_another_group_stays() -> None:
    sets = [f"s{number:02d}" for number in range(10)]
    pictures = [(prefix, "", 200, said) for prefix in sets for said in ("home", "house, outlined", "heart")]
    data = split_captions(made(pictures), the_recipe(), fewest_sets=20, seed=0)
    assert [len(part) for part in (data.train, data.val, data.test)] == [2, 0, 0]
    assert data.copies == 28
    assert data.classes == ()


def test_near_duplicates_of_the_same_group_only() -> None:
    sets = [f"s{number:02d}" for number in range(10)]
    pictures = [(prefix, "", 100 + 5 * row, f"thing {row}" if row % 2 else "home") for row, prefix in enumerate(sets)]
    data = split_captions(made(pictures), the_recipe(), fewest_sets=20, seed=0)
    trained = set(data.train.groups.tolist())
    assert len(data.test) == 2
    assert data.near(data.test).tolist() == [bool(group in trained) for group in data.test.groups.tolist()]


@given(
    captions=st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True), max_size=8),
    data=st.data(),
)
def test_captions_are_a_list_of_lists(captions: list[list[str]], data: st.DataObject) -> None:
    found = numbered(captions, NAMES)
    assert [list(found[row]) for row in range(len(found))] == captions
    assert [found.texts[row] for row in found.main] == [each[0] for each in captions]
    assert found.counts.tolist() == [len(each) for each in captions]
    assert list(found.texts) == sorted({text for each in captions for text in each})
    rows = data.draw(st.lists(st.integers(0, len(captions) - 1), max_size=9)) if captions else []
    taken: Captions = found.take(np.array(rows, np.int64))
    assert [list(taken[row]) for row in range(len(taken))] == [captions[row] for row in rows]


def test_what_is_refused(recipe: Recipe) -> None:
    with pytest.raises(InputError, match="size must be 32 or 64"):
        captioned_icons(size=48)
    with pytest.raises(InputError, match="seed must be zero or positive"):
        split(recipe, -1)


def _there() -> bool:
    return any(data_folder().glob("icons/captions-*-32px-1/manifest.jsonl"))


@pytest.mark.skipif(not _there(), reason="needs `nestling data icons --captions`, three minutes")
@pytest.mark.soak
def test_the_real_icons_with_captions() -> None:
    data, classed = captioned_icons(fetch=False), icons(fetch=False)
    parts = (data.train, data.val, data.test)
    assert 270_000 <= sum(map(len, parts)) <= 295_000
    assert 50_000 <= len({int(row) for part in parts for row in part.captions.main}) <= 60_000
    assert 1.9 < data.train.captions.counts.mean() < 2.2
    assert data.classes == classed.classes
    for ours, theirs in ((data.val, classed.val), (data.test, classed.test)):
        assert {data.families[n] for n in ours.families} == {classed.families[n] for n in theirs.families}
        assert abs(int((ours.classes >= 0).sum()) - len(theirs)) < 0.02 * len(theirs)
    assert data.scored.sum() > 300
    assert {licence.licence for licence in data.licences.values()} <= the_recipe().licences
    assert dict(zip(data.classes, data.prompts, strict=True))["arrow-circle-left"] == "arrow circle left"
