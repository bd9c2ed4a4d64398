"""A package of icon sets in the form of the real one, small enough to be made in a test."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestling.data.icons.archive import icon_sets
from nestling.data.icons.caption_lists import caption_lists
from nestling.data.icons.caption_pack import build
from nestling.data.icons.captions import CaptionedIcons, split_captions
from nestling.data.icons.recipe import Recipe, recipe

SHAPES = {
    "home": "M2 12 L12 2 L22 12 V22 H2 Z",
    "plus": "M10 2 H14 V10 H22 V14 H14 V22 H10 V14 H2 V10 H10 Z",
    "minus": "M2 10 H22 V14 H2 Z",
}


def shape(name: str, moved: float = 0.0) -> dict[str, Any]:
    """An icon; `moved` makes another drawing of it."""
    return {"body": f'<path fill="currentColor" transform="translate({moved} 0)" d="{SHAPES[name]}"/>'}


def archive(path: Path, sets: Mapping[str, Mapping[str, Any]], infos: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """Write the archive of these sets, and return the recipe that names its checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {f"package/json/{prefix}.json": dict(given, prefix=prefix) for prefix, given in sets.items()}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {**files, "package/collections.json": dict(infos)}.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return dataclasses.replace(recipe(), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), version="test")


def info(licence: str = "MIT", **more: Any) -> dict[str, Any]:
    """What the package says of a set."""
    return {
        "name": "A set",
        "author": {"name": "Somebody"},
        "license": {"spdx": licence, "url": "https://x.test"},
    } | more


def twelve() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Twelve free sets, each its own family, that draw three ideas in their own words."""
    words = {
        "home": ("home", "house-outline", "home-2"),
        "plus": ("add", "plus-fill"),
        "minus": ("remove", "minus-bold"),
    }
    sets: dict[str, dict[str, Any]] = {}
    for number in range(12):
        icons = {names[number % len(names)]: shape(idea, number / 8) for idea, names in words.items()}
        sets[f"own{number:02d}"] = {"icons": icons, "width": 24, "height": 24}
    return sets, {prefix: info() for prefix in sets}


def thirty() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Thirty free sets, each its own family, with aliases and categories; then one of colours, emoji and flags."""
    sets: dict[str, dict[str, Any]] = {}
    for number in range(30):
        home = "home" if number % 3 else "house-outline"
        icons = {
            home: shape("home", number / 16),
            "home-bold": shape("home", number / 16),  # the same drawing
            "minus": shape("minus", number / 16),
            "only-here" if number == 7 else f"plus-{number}": shape("plus", number / 16),
        }
        aliases = {
            "residence": {"parent": home},
            "minus-down": {"parent": "minus", "rotate": 1},
            "lost": {"parent": "gone"},
        }
        sets[f"own{number:02d}"] = {
            "icons": icons,
            "aliases": aliases,
            "categories": {"Buildings": [home], "Brands": ["only-here"]},
            "width": 24,
            "height": 24,
        }
    colours = {"grinning-face": {"body": '<circle fill="#fc0" cx="8" cy="8" r="8"/>'}, "home": shape("home")}
    colours |= {"white-circle": {"body": '<circle fill="#f8f8f8" cx="8" cy="8" r="8"/>'}}
    sets["twemoji"] = {"icons": {**colours, "flag-france": shape("minus")}, "width": 16, "height": 16}
    infos = {prefix: info("CC0-1.0" if prefix == "own03" else "MIT") for prefix in sets}
    infos["twemoji"] = info("CC-BY-4.0", palette=True, category="Emoji")
    return sets, infos


def captioned(folder: Path, seed: int = 0) -> CaptionedIcons:
    """The icons of `thirty` with captions, split; the archive is written into the folder."""
    lists, path = caption_lists(), folder / "thirty.tgz"
    small = archive(path, *thirty())
    wide = lists.widened(small)
    return split_captions(build(icon_sets(path, wide), small, lists, 32), wide, fewest_sets=20, seed=seed)
