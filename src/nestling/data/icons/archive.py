"""The npm package of icon sets: fetched once, checked, and read set by set without unpacking it."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
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
    """

    prefix: str
    info: Mapping[str, Any]
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    drawings: tuple[Drawing, ...]


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
    drawings = tuple(
        Drawing(
            name, box(i, "left", 0.0), box(i, "top", 0.0), box(i, "width", 16.0), box(i, "height", 16.0), str(i["body"])
        )
        for name, i in icons.items()
    )
    first, last = (tuple(cast(dict[str, str], given.get(key) or {})) for key in ("prefixes", "suffixes"))
    return IconSet(prefix, info, first, last, drawings)
