"""What icons are told as, and which captions say the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.data.icons.archive import Drawing, IconSet
from nestling.data.icons.caption_lists import caption_lists
from nestling.data.icons.naming import Names
from nestling.data.icons.recipe import recipe
from nestling.data.icons.wording import Wording, key_of

NAMES = Names(recipe())


def icons(prefix: str, *names: str, **more: Any) -> IconSet:
    """A set whose icons have these names."""
    drawings = tuple(Drawing(name, 0, 0, 16, 16, "") for name in names)
    given = {"info": {}, "prefixes": (), "suffixes": (), "turned": (), "other_names": {}, "categories": {}} | more
    return IconSet(prefix=prefix, drawings=drawings, **given)


def wording(*sets: IconSet) -> Wording:
    return Wording(NAMES, caption_lists(), sets)


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        ("x", "arrow-left-circle", ("arrow left circle",)),
        ("x", "arrow-left-circle-outline", ("arrow left circle", "arrow left circle, outlined")),
        ("bx", "bxs-home-2", ("home", "home, filled")),
        ("ic", "twotone-add-24px", ("add", "add, two-tone")),
        ("x", "bell-24", ("bell",)),  # a size is not seen
        ("x", "home-filled-solid", ("home", "home, filled")),  # said once
        ("x", "house8", ("house",)),
        ("x", "mp3", ("mp3",)),
        ("x", "level3", ("level3",)),  # the number is what it shows
        ("icon-park-outline", "watermelon-one", ("watermelon",)),
        ("icon-park-outline", "one", ("one",)),
        ("x", "watermelon-one", ("watermelon one",)),
        ("wi", "tornado", ("tornado", "tornado, weather")),
        ("x", "a-b-c-d-e-f-g-h-i", ("a b c d e f g h i",)),
        ("x", "a-b-c-d-e-f-g-h-i-j", ()),  # keywords
        ("x", "github", ()),
        ("x", "logo-of", ()),
        ("x", "figma-logo-thin", ()),
        ("x", "a", ()),
        ("twemoji", "flag-france", ()),
        ("x", "flag-france", ("flag france",)),
        ("noto", "waving-hand-dark-skin-tone", ()),
        ("wi", "owm-day-781", ()),
    ],
)
def test_what_a_name_says(prefix: str, name: str, expected: tuple[str, ...]) -> None:
    given = icons(prefix, name)
    assert wording(given).captions(given, name) == expected


def test_a_style_that_a_set_declares() -> None:
    given = icons("x", "home-sharp-two-tone", suffixes=("sharp-two-tone", "two-tone"))
    assert wording(given).captions(given, "home-sharp-two-tone") == ("home", "home, sharp two-tone")


def test_other_names_are_captions_and_those_that_say_nothing_are_not() -> None:
    others = {"magnify-outline": ("search", "magnify", "magnify-2", "logo-x", "find-in-page-outline", "search-outline")}
    given = icons("x", "magnify-outline", other_names=others)
    assert wording(given).captions(given, "magnify-outline") == (
        "magnify",
        "magnify, outlined",
        "search",
        "find in page",
    )


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (("Account / User", "MoneyShopping"), ("cart, account user", "cart, money shopping")),
        (("Audio & Video",), ("cart, audio and video",)),
        (("Healt and Medical",), ("cart, health and medical",)),
        (("A", "B", "C"), ("cart, a", "cart, b")),  # the first two
        (("UI", "Interface", "InterfaceEssential", ""), ()),
        (("Cart",), ()),  # the name has said so
    ],
)
def test_categories_that_say_something(categories: tuple[str, ...], expected: tuple[str, ...]) -> None:
    given = icons("x", "cart", categories={"cart": categories})
    assert wording(given).captions(given, "cart") == ("cart", *expected)


def test_what_a_whole_set_is_about() -> None:
    emoji = icons("x", "grinning-face", info={"category": "Emoji"}, categories={"grinning-face": ("Smileys",)})
    assert wording(emoji).captions(emoji, "grinning-face")[1:] == ("grinning face, smileys", "grinning face, emoji")


@pytest.mark.parametrize("category", ["Brand", "Logos", "Flags"])
def test_brands_and_flags_have_no_captions(category: str) -> None:
    given = icons("x", "rainbow", categories={"rainbow": (category,)})
    assert wording(given).captions(given, "rainbow") == ()


def test_a_category_before_a_name_is_style_where_a_set_names_so() -> None:
    names = {"interface-essential-key": ("InterfaceEssential",)}
    given = icons("streamline-pixel", "interface-essential-key", categories=names)
    assert wording(given).captions(given, "interface-essential-key") == ("key",)


def test_glued_names_are_cut_into_words_that_other_sets_use() -> None:
    others = [icons(f"s{number}", "arrow-down", "circle-or", "car-pet-up", "carpet") for number in range(8)]
    glued = icons("whh", "arrowdown", "circlearrowup", "carpet", "circleor", "yfrog", "linkalt")
    says = wording(*others, glued)
    told = [says.captions(glued, icon.name)[0] for icon in glued.drawings]
    # "or" is no word to end a glued name with; of "linkalt" neither half is known
    assert told == ["arrow down", "circle arrow up", "carpet", "circleor", "yfrog", "linkalt"]
    assert wording(*others[1:], glued).captions(glued, "arrowdown") == ("arrowdown",)  # seven sets are too few
    other = icons("x", "arrowdown")
    assert says.captions(other, "arrowdown") == ("arrowdown",)  # of a set that does not glue


def test_captions_that_say_the_same() -> None:
    same = ["home", "house", "home, outlined", "house, buildings and places"]
    assert len({key_of(text, NAMES) for text in same}) == 1
    assert key_of("arrow left circle", NAMES) == key_of("circle arrow left, filled", NAMES)
    assert key_of("search", NAMES) == key_of("magnifying glass", NAMES)
    assert key_of("arrow left", NAMES) != key_of("arrow right", NAMES)


@given(st.lists(st.sampled_from(["arrow", "left", "house", "plus", "heart", "off", "2"]), min_size=1, max_size=5))
def test_the_key_of_a_caption_is_the_class_of_its_name(words: list[str]) -> None:
    assert key_of(" ".join(words), NAMES) == NAMES.key("-".join(words))
    assert key_of(" ".join(words) + ", filled", NAMES) == NAMES.key("-".join(words))


def test_which_sets_have_captions() -> None:
    wide, free = caption_lists().widened(recipe()), {"license": {"spdx": "MIT"}}
    assert wide.keeps("x", free | {"palette": True})
    assert wide.keeps("x", free | {"category": "Emoji"})
    assert not wide.keeps("x", free | {"category": "Logos"})
    assert not wide.keeps("x", {"license": {"spdx": "GPL-3.0"}})
    assert not wide.keeps("feather", free)
    assert not wide.keeps("circle-flags", free)
    assert not recipe().keeps("x", free | {"palette": True})
    for name, family in {"icon-park": "iconpark", "fluent-color": "microsoft", "noto-v1": "noto"}.items():
        assert wide.family(name) == family
    for prefix in ("tabler", "fa6-solid", "streamline-pixel", "icons8", "glyphs"):
        assert wide.family(prefix) == recipe().family(prefix)
