"""The split: families apart, copies out, near copies marked."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter

import numpy as np
import pytest

from nestling.data import LabelledImages
from nestling.data.icons import icon_pack, icons
from nestling.data.icons.families import near_duplicates, split_by_family
from nestling.data.icons.pack import Licence, Origin, Pack
from nestling.data.icons.recipe import recipe
from nestling.errors import DataError, InputError


def drawn(seed: int = 0, sets: int = 40, classes: int = 6, size: int = 32) -> Pack:
    """Random pictures of `classes` classes by `sets` sets; each set copies its first picture from another set."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (sets, classes, size, size), dtype=np.uint8)
    pixels[1:, 0] = pixels[:-1, 0][rng.permutation(sets - 1)]
    origins = [Origin(f"c{c}", f"s{s:02d}", f"i{c}", "") for s in range(sets) for c in range(classes)]
    licences = {f"s{s:02d}": Licence("", "", "MIT", "") for s in range(sets)}
    return Pack(pixels.reshape(-1, size, size), tuple(origins), licences, 0)


@pytest.mark.parametrize("seed", range(5))
def test_no_family_on_two_sides_and_no_drawing_twice_in_a_class(seed: int) -> None:
    data = split_by_family(drawn(seed), recipe(), fewest_sets=10, seed=seed)
    parts = (data.train, data.val, data.test)
    sides = [set(part.families.tolist()) for part in parts]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert [len(side) for side in sides] == [28, 4, 8]
    seen = Counter(
        (int(label), image.tobytes())
        for part in parts
        for label, image in zip(part.images.labels, part.images.pixels, strict=True)
    )
    assert set(seen.values()) == {1}
    assert sum(map(len, parts)) + data.copies == 240


def test_the_training_copy_wins() -> None:
    pack = drawn()
    pack = dataclasses.replace(pack, pixels=np.repeat(pack.pixels[:6][None], 40, axis=0).reshape(-1, 32, 32))
    data = split_by_family(pack, recipe(), fewest_sets=10, seed=0)
    assert [len(part) for part in (data.train, data.val, data.test)] == [6, 0, 0]
    assert data.copies == 234


def test_a_class_that_train_lacks_is_left_out() -> None:
    pack = drawn()
    whole = split_by_family(pack, recipe(), fewest_sets=10, seed=0)
    tested = {whole.families[number] for number in set(whole.test.families.tolist())}
    kept = [i for i, origin in enumerate(pack.origins) if origin.shows != "c3" or origin.set in tested]
    less = dataclasses.replace(pack, pixels=pack.pixels[kept], origins=tuple(pack.origins[i] for i in kept))
    data = split_by_family(less, recipe(), fewest_sets=5, seed=0)
    assert data.untrained == 8
    assert 3 not in data.test.images.labels


def test_families_that_only_train() -> None:
    pack = drawn()
    names = {"s00": "mdi", "s01": "fa6-solid", "s02": "fluent", "s03": "bx", "s04": "bxs"}
    origins = tuple(origin._replace(set=names.get(origin.set, origin.set)) for origin in pack.origins)
    for seed in range(30):
        data = split_by_family(dataclasses.replace(pack, origins=origins), recipe(), fewest_sets=10, seed=seed)
        held = {data.families[n] for part in (data.val, data.test) for n in set(part.families.tolist())}
        assert not held & {"material", "microsoft", "fa"}
        for part in (data.train, data.val, data.test):
            sets = {path.split(":")[0] for path in part.images.paths or ()}
            assert {"bx", "bxs"} <= sets or not {"bx", "bxs"} & sets


def test_near_duplicates_are_found_by_a_double_loop() -> None:
    rng = np.random.default_rng(0)
    blobs = np.zeros((30, 32, 32), np.uint8)
    for blob in blobs:
        top, left, height, width = rng.integers(2, 8), rng.integers(2, 8), rng.integers(8, 20), rng.integers(8, 20)
        blob[top : top + height, left : left + width] = rng.integers(0, 2, (height, width)) * 255
    moved = np.roll(blobs, (2, 1), axis=(1, 2))  # the same drawing elsewhere
    moved[::2] = np.where(rng.random(moved[::2].shape) < 0.3, 0, moved[::2])
    labels = np.arange(30, dtype=np.int64) % 3
    train = LabelledImages(blobs[:, None], labels, ("a", "b", "c"))
    test = LabelledImages(moved[:, None], labels, ("a", "b", "c"))
    found = near_duplicates(train, test)
    assert found[1::2].all()
    assert not found[::2].any()
    other = LabelledImages(moved[:, None], (labels + 1) % 3, ("a", "b", "c"))
    assert not near_duplicates(train, other).any()  # in another class it is no copy


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="seed must be zero or positive"):
        split_by_family(drawn(), recipe(), fewest_sets=10, seed=-1)
    with pytest.raises(DataError, match="drawn by 41 sets"):
        split_by_family(drawn(), recipe(), fewest_sets=41, seed=0)
    with pytest.raises(InputError, match="icons-600 or icons-1500"):
        icons("icons-9")
    with pytest.raises(InputError, match="size must be 32 or 64"):
        icon_pack(48)


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_the_real_icons() -> None:
    """Built once (104 MB, about a minute), then read; the counts are about those of a first look at the package."""
    data = icons()
    assert 560 <= len(data.classes) <= 600
    assert 52_000 <= sum(map(len, (data.train, data.val, data.test))) <= 56_000
    assert {"home", "search", "arrow-left"} <= set(data.classes)
    assert data.untrained == 0
    assert 0.02 < data.test.near.mean() < 0.2
    assert data.scored.sum() > 300
    large = icons("icons-1500")
    assert 1_400 <= len(large.classes) <= 1_500
    assert set(data.classes) <= set(large.classes)
