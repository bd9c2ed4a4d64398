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
