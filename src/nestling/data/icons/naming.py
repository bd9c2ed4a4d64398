"""What an icon shows, from its name: ``mdi:home-variant-outline`` and ``bx:bxs-home`` are both a home.

Designers name the same idea in their own words: with the style before or behind it (``ic:round-add``, ``plus-fill``),
with a number for a variant, with the words in another order, with a synonym.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nestling.data.icons.recipe import Recipe

_VARIANTS = frozenset(str(n) for n in range(1, 20)) | frozenset(f"0{n}" for n in range(1, 10))


class Named(NamedTuple):
    """What a name says.

    Attributes:
        shows: the class, its words in the order of the alphabet.
        style: the words that were taken away, such as ``outline``; may be empty.
    """

    shows: str
    style: str


class Names:
    """Reads names by a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.merged: dict[str, str] = {}
        for target, names in recipe.merges.items():
            for name in (target, *names):
                self.merged[self._sorted(name)] = self._sorted(target)

    def key(self, bare: str) -> str:
        """The class of a name without style and variant: equal for all names of the same idea."""
        found = self._sorted(bare)
        return self.merged.get(found, found)

    def read(self, prefix: str, name: str, prefixes: Iterable[str], suffixes: Iterable[str]) -> Named | None:
        """The class and style of an icon; None for a brand or a single letter.

        Args:
            prefix: the set's short name.
            name: the icon's.
            prefixes, suffixes: words of style that the set declares.
        """
        bare = self.bare(prefix, name, prefixes, suffixes)
        found = self.key(bare)
        if len(found) < 2 or found in self.recipe.brands or bare in self.recipe.brands:
            return None
        at = name.find(bare)
        style = f"{name[:at]}{name[at + len(bare) :]}".strip("-").replace("--", "-")
        return Named(found, style)

    def bare(self, prefix: str, name: str, prefixes: Iterable[str], suffixes: Iterable[str]) -> str:
        """A name without style and variant; arguments as of `read`."""
        first = [*prefixes, *self.recipe.prefix_words.get(prefix, ())]
        for word in sorted(filter(None, first), key=len, reverse=True):
            if name.startswith(f"{word}-"):
                name = name[len(word) + 1 :]
                break
        for word in sorted(filter(None, suffixes), key=len, reverse=True):
            if name.endswith(f"-{word}"):
                name = name[: -len(word) - 1]
                break
        words = name.split("-")
        while len(words) > 1 and self._says_nothing(words):
            words.pop()
        return "-".join(words)

    def _says_nothing(self, words: list[str]) -> bool:
        """Whether the last word tells a style or a variant."""
        before, last = words[-2:]
        if last in _VARIANTS and before in self.recipe.number_means_something_after:
            return False
        return last in self.recipe.style_words or last in _VARIANTS

    def _sorted(self, name: str) -> str:
        """Synonyms replaced, the words in order."""
        name = "-".join(self.recipe.word_synonyms.get(word, word) for word in name.split("-"))
        name = self.recipe.name_synonyms.get(name, name)
        return "-".join(sorted(name.split("-")))
