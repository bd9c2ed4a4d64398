"""What captions are made of, and which sets have them beside those of the classes: lists in ``captions.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from nestling.data.icons.recipe import Recipe, read_lists


@dataclass(frozen=True, eq=False)
class CaptionLists:
    """The lists.

    Attributes:
        categories_dropped: of sets; takes the place of the recipe's list, since emoji have names in good English.
        sets_dropped, families, families_only_in_train: beside the recipe's.
        icon_categories_dropped: of icons within their set: brands, flags (in grey, France is Italy).
        names_dropped: patterns by pattern of sets; brands, shades of skin, codes.
        sets_of_glued_names: that write ``arrowdown``.
        sets_of_numbers_in_words: whose variants are ``home-one``, ``home-two``.
        sets_named_by_category: whose names begin with their category.
        style_in_words: what a word of style says to a reader.
        sets_in_words, set_categories_in_words: what all icons of a set, or of a category of sets, are about.
        words_of_no_meaning: categories that tell nothing about a picture.
        words_corrected: in categories.
    """

    categories_dropped: frozenset[str]
    sets_dropped: frozenset[str]
    families: Mapping[str, list[str]]
    families_only_in_train: frozenset[str]
    icon_categories_dropped: frozenset[str]
    names_dropped: Mapping[str, list[str]]
    sets_of_glued_names: frozenset[str]
    sets_of_numbers_in_words: frozenset[str]
    sets_named_by_category: frozenset[str]
    style_in_words: Mapping[str, str]
    sets_in_words: Mapping[str, str]
    set_categories_in_words: Mapping[str, str]
    words_of_no_meaning: frozenset[str]
    words_corrected: Mapping[str, str]

    def widened(self, recipe: Recipe) -> Recipe:
        """The recipe with the sets that have captions: those of several colours too, and emoji.

        Its families are the recipe's and on the same sides of a split; a family of which the recipe keeps no set only
        trains.
        """
        names = {*recipe.families, *self.families}
        return replace(
            recipe,
            several_colours=True,
            categories_dropped=self.categories_dropped,
            sets_dropped=recipe.sets_dropped | self.sets_dropped,
            families={name: [*recipe.families.get(name, ()), *self.families.get(name, ())] for name in sorted(names)},
            families_only_in_train=recipe.families_only_in_train | self.families_only_in_train,
        )


@cache
def caption_lists() -> CaptionLists:
    """The lists of this package."""
    return read_lists(CaptionLists, "captions.json")
