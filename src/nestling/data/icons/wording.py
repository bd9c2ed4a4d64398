"""Captions: an icon's name in words, with its style, with what it is about, and its other names.

``bx:bxs-arrow-left-circle`` is told as "arrow left circle", as "arrow left circle, filled" and, by its category in the
set, as "arrow left circle, navigation". What stands before the comma is what is drawn; two captions say the same when
that does, in whatever words and order (`key_of`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase, translate

from nestling.data.icons.archive import IconSet
from nestling.data.icons.caption_lists import CaptionLists
from nestling.data.icons.naming import Names

_LONGEST = 9  # words of a caption; longer names are lists of keywords
_CATEGORIES = 2  # of an icon, that captions tell
_FEWEST_SETS = 8  # that use a word which glued names are cut into
_SHORT = frozenset({"in", "no", "on", "to", "up"})  # words of two letters that they may be cut into
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # InterfaceEssential
_GLUED_VARIANT = re.compile(r"([a-z]{3,})[1-9]")  # home8; not mp3
_NUMBERS = frozenset({"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"})


def key_of(caption: str, names: Names) -> str:
    """Equal for captions that say the same."""
    return names.key(caption.partition(", ")[0].replace(" ", "-"))


class Wording:
    """Says names in words.

    Args:
        names: reads the style off.
        lists: of captions.
        sets: all sets, whose words cut the names of those that glue theirs.
    """

    def __init__(self, names: Names, lists: CaptionLists, sets: Iterable[IconSet]) -> None:
        self.names, self.lists = names, lists
        self._used_by = self._words(sets)
        self._dropped: dict[str, re.Pattern[str]] = {}

    def captions(self, icons: IconSet, name: str) -> tuple[str, ...]:
        """What is said of an icon, the main caption first: its name in words; none if it shall have no captions.

        Args:
            icons: its set.
            name: its name, or that of a turned one.
        """
        main, style = self._said(icons, name)
        if not main or self.lists.icon_categories_dropped & set(icons.categories.get(name, ())):
            return ()
        more = [style, *(about for about in self._about(icons, name) if not set(about.split()) <= set(main.split()))]
        others = (self._said(icons, other)[0] for other in icons.other_names.get(name, ()))
        said = (main, *(f"{main}, {words}" for words in more if words), *filter(None, others))
        return tuple(dict.fromkeys(said))

    def _said(self, icons: IconSet, name: str) -> tuple[str, str]:
        """What a name says is drawn, and how; empty for a brand, a single letter, and what the lists drop."""
        first = icons.prefixes
        if icons.prefix in self.lists.sets_named_by_category:
            first = (*first, *(self._plain(category).replace(" ", "-") for category in icons.categories.get(name, ())))
        named = self.names.read(icons.prefix, name, first, icons.suffixes)
        if named is None or self._patterns(icons.prefix).fullmatch(name):
            return "", ""
        words = self._bare(icons, name, first)
        style = (self.lists.style_in_words.get(word, "") for word in named.style.replace("two-tone", "duo").split("-"))
        return " ".join(words) if len(words) <= _LONGEST else "", " ".join(dict.fromkeys(filter(None, style)))

    def _bare(self, icons: IconSet, name: str, first: Iterable[str]) -> list[str]:
        """The words of a name, with neither style nor variant, in the ways that some sets tell them."""
        bare = self.names.bare(icons.prefix, name, first, icons.suffixes)
        if icons.prefix in self.lists.sets_of_glued_names:
            bare = self.names.bare("", "-".join(self._unglued(word) for word in bare.split("-")), (), ())
        words = [word for word in bare.split("-") if word]
        if icons.prefix in self.lists.sets_of_numbers_in_words and len(words) > 1 and words[-1] in _NUMBERS:
            words.pop()
        variant = _GLUED_VARIANT.fullmatch(words[-1])
        if variant and variant[1] not in self.names.recipe.number_means_something_after:
            words[-1] = variant[1]
        return words

    def _patterns(self, prefix: str) -> re.Pattern[str]:
        """Of the names of a set that are dropped."""
        if prefix not in self._dropped:
            lists = (names for sets, names in self.lists.names_dropped.items() if fnmatchcase(prefix, sets))
            self._dropped[prefix] = re.compile(
                "|".join(translate(name) for names in lists for name in names) or r"\b\B"
            )
        return self._dropped[prefix]

    def _about(self, icons: IconSet, name: str) -> Iterator[str]:
        """What an icon is about, by its categories and its set's."""
        own = (self._plain(category) for category in icons.categories.get(name, ()))
        yield from [words for words in own if words not in self.lists.words_of_no_meaning][:_CATEGORIES]
        category = self.lists.set_categories_in_words.get(str(icons.info.get("category")), "")
        yield from (self.lists.sets_in_words.get(icons.prefix, ""), category)

    def _plain(self, category: str) -> str:
        """A category in words: "MoneyShopping" is money shopping, "Audio & Video" audio and video."""
        words = re.findall(r"[a-z0-9]+", _HUMP.sub(" ", category).replace("&", " and ").lower())
        return " ".join(self.lists.words_corrected.get(word, word) for word in words)

    def _words(self, sets: Iterable[IconSet]) -> Counter[str]:
        """How many sets use each word, those of glued names left out."""
        found = Counter[str]()
        for each in sets:
            if each.prefix not in self.lists.sets_of_glued_names:
                found.update({word for icon in each.drawings for word in icon.name.split("-")})
        return found

    def _unglued(self, word: str) -> str:
        """``arrowdown`` as ``arrow-down``: the fewest common words that make it up, of these the most common."""
        best: list[tuple[int, int, tuple[str, ...]] | None] = [(0, 0, ()), *[None] * len(word)]
        for end in range(1, len(word) + 1):
            for start, before in enumerate(best[:end]):
                piece = word[start:end]
                if before is not None and self._is_common(piece):
                    made = before[0] + 1, before[1] - self._used_by[piece], (*before[2], piece)
                    best[end] = min(made, best[end] or made)
        found = best[-1]
        return word if found is None else "-".join(found[2])

    def _is_common(self, piece: str) -> bool:
        return (len(piece) > 2 or piece in _SHORT) and self._used_by[piece] >= _FEWEST_SETS
