"""The npm package of icon sets: fetched once, checked, and read set by set without unpacking it."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from nestling.data.cache import check_sha256, data_folder
from nestling.data.fetching import Say, by_program
from nestling.data.icons.recipe import Recipe
from nestling.errors import DataError
from nestling.files import write_file

_LIST, _SETS = Path("package/collections.json"), Path("package/json")
_MEMBER_BYTES = 1 << 28  # the largest set has a tenth


class Drawing(NamedTuple):
    """An icon: its name in the set, its box, and what is drawn in it (the inside of an SVG element)."""

    name: str
    left: float
    top: float
    width: float
    height: float
    body: str


@dataclass(frozen=True, eq=False)
class IconSet:
    """A set of icons by the same hands.

    Attributes:
        prefix: its short name.
        info: title, author, licence and category, as the package tells them.
        prefixes, suffixes: words of style in its icons' names.
        drawings: its icons, without aliases.
        turned: what it has by turning or mirroring one of its icons: an arrow to the right from one to the left.
        other_names: of an icon, its aliases.
        categories: of an icon, those that the set puts it in, in the order of the alphabet.
    """

    prefix: str
    info: Mapping[str, Any]
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    turned: tuple[Drawing, ...]
    other_names: Mapping[str, tuple[str, ...]]
    categories: Mapping[str, tuple[str, ...]]


def the_archive(recipe: Recipe, *, fetch: bool, say: Say) -> Path:
    """Where the package's archive lies, in the folder of fetched data, its SHA-256 checked.

    Raises:
        ChecksumError: it is damaged.
        DataError: it is not there and was not fetched.
    """
    path = data_folder() / "icons" / f"iconify-json-{recipe.version}.tgz"
    if not path.exists():
        how = f"`npm pack {recipe.package}@{recipe.version}`"
        if not fetch or shutil.which("npm") is None:
            why = "npm is not on this machine" if fetch else "nothing shall be fetched"
            raise DataError(f"The icons are not on this machine, and {why}. Put what {how} gives at {path}.")
        say(f"Fetching {recipe.package} {recipe.version} ({recipe.bytes / 1e6:.0f} MB)")
        _packed_by_npm(recipe, path)
    check_sha256(path.read_bytes(), recipe.sha256, name=str(path))
    return path


def _packed_by_npm(recipe: Recipe, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="nestling-") as name:
        by_program(["npm", "pack", "--silent", f"{recipe.package}@{recipe.version}"], Path(name))
        found = sorted(Path(name).glob("*.tgz"))
        if not found:
            raise DataError(f"npm made no archive of {recipe.package}.")
        data = found[0].read_bytes()
    check_sha256(data, recipe.sha256, name="What npm fetched")
    write_file(path, data)


def icon_sets(path: Path, recipe: Recipe) -> Iterator[IconSet]:
    """The sets that the recipe keeps, in the order of the archive, which is read twice: first what it says of them.

    Raises:
        DataError: it is no archive of icon sets.
    """
    infos: dict[str, Any] = {}
    try:
        _, infos = next(_members(path, lambda where: where == _LIST), (_LIST, infos))
        kept = {_SETS / f"{prefix}.json" for prefix, info in infos.items() if recipe.keeps(prefix, info)}
        for where, given in _members(path, lambda where: where in kept):
            yield _parsed(where.stem, infos[where.stem], given)
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no archive of icon sets: {error}. Delete it and fetch it again.") from error
    if not infos:
        raise DataError(f"{path} is no archive of icon sets: it lists none. Delete it and fetch it again.")


def _members(path: Path, wanted: Callable[[Path], bool]) -> Iterator[tuple[Path, dict[str, Any]]]:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if wanted(Path(member.name)):
                yield Path(member.name), _read(archive, member)


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    stream = archive.extractfile(member) if member.size <= _MEMBER_BYTES else None
    if stream is None:
        raise ValueError(f"{member.name} is no file of a sensible size")
    return cast(dict[str, Any], json.loads(stream.read()))


def _parsed(prefix: str, info: Mapping[str, Any], given: dict[str, Any]) -> IconSet:
    def box(icon: Mapping[str, Any], key: str, default: float) -> float:
        return float(icon.get(key, given.get(key, default)))

    icons = cast(dict[str, dict[str, Any]], given["icons"])
    drawings = {
        name: Drawing(
            name, box(i, "left", 0.0), box(i, "top", 0.0), box(i, "width", 16.0), box(i, "height", 16.0), str(i["body"])
        )
        for name, i in icons.items()
    }
    first, last = (tuple(cast(dict[str, str], given.get(key) or {})) for key in ("prefixes", "suffixes"))
    turned, others = _aliases(drawings, given.get("aliases") or {})
    return IconSet(prefix, info, first, last, tuple(drawings.values()), turned, others, _categories(given))


def _aliases(
    drawings: Mapping[str, Drawing], given: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[Drawing, ...], dict[str, tuple[str, ...]]]:
    """The aliases that draw something else than their icon, and the names of those that do not.

    The package has no alias of an alias: one whose parent is no icon is passed over.
    """
    turned, others = list[Drawing](), defaultdict[str, list[str]](list)
    for name, alias in given.items():
        icon, turns = drawings.get(alias["parent"]), int(alias.get("rotate", 0)) % 4
        mirrors = bool(alias.get("hFlip")), bool(alias.get("vFlip"))
        if icon is not None and (turns or any(mirrors)):
            turned.append(_turned(icon, name, turns, mirrors))
        elif icon is not None:
            others[icon.name].append(name)
    return tuple(turned), {name: tuple(names) for name, names in others.items()}


def _turned(icon: Drawing, name: str, turns: int, mirrors: tuple[bool, bool]) -> Drawing:
    """The icon mirrored (left to right, top to bottom), then turned clockwise by quarters, about its middle."""
    x, y = icon.left + icon.width / 2, icon.top + icon.height / 2
    across, down = (-1 if mirror else 1 for mirror in mirrors)
    moves = f"translate({x:g} {y:g}) rotate({90 * turns}) scale({across} {down}) translate({-x:g} {-y:g})"
    return icon._replace(name=name, body=f'<g transform="{moves}">{icon.body}</g>')


def _categories(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for category, names in sorted(cast(dict[str, list[str]], given.get("categories") or {}).items()):
        for name in names:
            found[name].append(category)
    return {name: tuple(categories) for name, categories in found.items()}
