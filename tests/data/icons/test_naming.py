"""What names are read as."""

from __future__ import annotations

import pytest

from nestling.data.icons.naming import Names
from nestling.data.icons.recipe import recipe

NAMES = Names(recipe())


@pytest.mark.parametrize(
    ("prefix", "name", "shows", "style"),
    [
        ("mdi", "home-variant-outline", "home-variant", "outline"),
        ("bx", "bxs-home", "home", "bxs"),
        ("ic", "round-add", "plus", "round"),
        ("ic", "twotone-add-24px", "plus", "twotone-24px"),
        ("x", "circle-alert", "alert-circle", ""),
        ("x", "alert-02", "alert", "02"),
        ("x", "trash-bin-3-line", "trash-trash", "3-line"),
        ("x", "numeric-9", "9-numeric", ""),  # the number is what it shows
        ("x", "heading-2", "2-heading", ""),
        ("x", "star-20", "star", "20"),  # a size
        ("x", "star-21", "21-star", ""),
        ("x", "magnifying-glass", "search", ""),
        ("x", "thumbs-up", "thumb-up", ""),
        ("x", "like", "thumb-up", ""),
        ("x", "outline", "outline", ""),  # of one word nothing is taken away
    ],
)
def test_the_same_idea_has_one_name(prefix: str, name: str, shows: str, style: str) -> None:
    assert NAMES.read(prefix, name, (), ()) == (shows, style)


def test_what_a_set_declares_is_style() -> None:
    assert NAMES.read("x", "broken-home", ("broken", ""), ()) == ("home", "broken")
    assert NAMES.read("x", "home-line-duotone", (), ("duotone", "line-duotone")) == ("home", "line-duotone")


@pytest.mark.parametrize("name", ["github", "github-fill", "a", "x-twitter", "line"])
def test_brands_and_single_letters_are_no_classes(name: str) -> None:
    assert NAMES.read("x", name, (), ()) is None


def test_families() -> None:
    lists = recipe()
    assert lists.family("fa6-solid") == "fa"
    assert lists.family("streamline-ultimate") == "streamline"
    assert lists.family("tabler") == "tabler"


def test_sets_that_are_kept() -> None:
    lists, free = recipe(), {"license": {"spdx": "MIT"}, "palette": False, "category": "UI 24px"}
    assert lists.keeps("tabler", free)
    assert not lists.keeps("tabler", free | {"license": {"spdx": "GPL-3.0"}})
    assert not lists.keeps("tabler", free | {"license": None})
    assert not lists.keeps("tabler", free | {"palette": True})
    assert not lists.keeps("tabler", free | {"category": "Logos"})
    assert lists.keeps("codicon", free | {"category": "Programming"})
    assert not lists.keeps("feather", free)
    assert not lists.keeps("fa6-brands", free)
