"""Which icon sets are used, what their icons' names mean, and which sets copy one another: lists in ``recipe.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar, cast

ListsT = TypeVar("ListsT")


@dataclass(frozen=True, eq=False)
class Recipe:
    """The lists.

    Attributes:
        package, version, sha256, bytes: the npm package that all icons come from, and its archive.
        licences: SPDX names of which a set must have one.
        categories_dropped, kept_in_spite_of_category, sets_dropped, sets_dropped_if_named: which sets are not used.
        style_words: last words of a name that tell how an icon is drawn, not what it shows.
        prefix_words: first words of the same kind, by set, beside those that a set declares itself.
        number_means_something_after: words behind which a number is no variant.
        word_synonyms, name_synonyms, merges: names of the same thing.
        brands: classes that are left out.
        families: sets that copy one another, by family; a pattern may end in ``*``.
        families_only_in_train: never held out, since too much was drawn after them.
        several_colours: whether sets of more than one colour are used.
    """

    package: str
    version: str
    sha256: str
    bytes: int
    licences: frozenset[str]
    categories_dropped: frozenset[str]
    kept_in_spite_of_category: frozenset[str]
    sets_dropped: frozenset[str]
    sets_dropped_if_named: frozenset[str]
    style_words: frozenset[str]
    prefix_words: Mapping[str, list[str]]
    number_means_something_after: frozenset[str]
    word_synonyms: Mapping[str, str]
    name_synonyms: Mapping[str, str]
    merges: Mapping[str, list[str]]
    brands: frozenset[str]
    families: Mapping[str, list[str]]
    families_only_in_train: frozenset[str]
    several_colours: bool = False

    def keeps(self, prefix: str, info: Mapping[str, Any]) -> bool:
        """Whether a set is used: licensed, of one colour unless several are wanted, no collection of logos or copies.

        Args:
            prefix: the set's short name.
            info: what the package's ``collections.json`` says about it.
        """
        licence = cast(Mapping[str, Any], info.get("license") or {})
        if licence.get("spdx") not in self.licences or (info.get("palette") and not self.several_colours):
            return False
        if info.get("category") in self.categories_dropped and prefix not in self.kept_in_spite_of_category:
            return False
        return prefix not in self.sets_dropped and not any(part in prefix for part in self.sets_dropped_if_named)

    def family(self, prefix: str) -> str:
        """The family of a set; a set that copies no other is its own."""
        for name, patterns in self.families.items():
            if any(fnmatchcase(prefix, pattern) for pattern in patterns):
                return name
        return prefix


@cache
def recipe() -> Recipe:
    """The lists of this package."""
    return read_lists(Recipe, "recipe.json")


def read_lists(kind: type[ListsT], file: str) -> ListsT:
    """A JSON file of this package as a dataclass, whose sets are written as lists."""
    lists: dict[str, Any] = json.loads(files("nestling.data.icons").joinpath(file).read_text("utf-8"))
    sets = {name for name, type_ in kind.__annotations__.items() if type_ == "frozenset[str]"}
    return kind(**{name: frozenset(value) if name in sets else value for name, value in lists.items()})
