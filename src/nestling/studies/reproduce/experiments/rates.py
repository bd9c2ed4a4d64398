"""The learning rate, tried alike for plain and nested models: what the main table's one rate costs each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nestling.evaluation import Neighbor, Row
from nestling.evaluation.base import correct_rows
from nestling.nesting import Nesting
from nestling.studies.reproduce.recipe import Recipe, Training
from nestling.studies.reproduce.section import Section, by_prefix, mean_of
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import HEAD, NEIGHBOR, NESTED, Systems
from nestling.studies.reproduce.zoo import Zoo

_FACTORS = (0.5, 1.0, 2.0)
_JUDGED = (
    "The rate of all tables, .008, is within .3 points of the best for MRL and MRL-E. The widest plain model "
    "would gain .9 by its head at half of it, and .25 by 1-NN at the double; FF-8 2.8 by its head at the double "
    "and .4 by 1-NN."
)


def trainings(systems: Systems) -> list[Training]:
    """Four systems at three rates; one seed."""
    return [Training(recipe, seed) for seed in systems.settings.once for _, _, recipe in _recipes(systems.zoo)]


def rows(systems: Systems) -> list[Row]:
    """Trained head and 1-NN on validation."""
    return [row for seed in systems.settings.once for row in _of(systems, seed)]


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """Both tables, and how far the rate of all other tables lies below the best of each system."""
    base = settings.train.lr
    found = []
    for system in dict.fromkeys(row.system.rpartition(" at ")[0] for row in rows):
        for metric, words in ((HEAD, "head"), (NEIGHBOR, "1-NN")):
            values = {factor: _value(rows, metric, _name(system, factor * base)) for factor in _FACTORS}
            best = max(values, key=lambda factor: values[factor])
            found.append(
                f"{system}, {words}: best at rate {best * base:g} "
                f"({100 * values[best]:.2f} %, mean of its prefixes); {base:g} is "
                f"{100 * (values[best] - values[1.0]):.2f} points below."
            )
    return Section(
        title="One learning rate for all",
        claim="(Not a table of the paper.) Plain and nested models are tried at the same rates, and compared at one.",
        judged=_JUDGED,
        found=found,
        tables=[
            by_prefix("trained head on validation, top-1 %", rows, HEAD),
            by_prefix("1-NN on validation, top-1 %", rows, NEIGHBOR),
        ],
    )


def _of(systems: Systems, seed: int) -> list[Row]:
    val = systems.images.val.labels
    found: list[Row] = []
    for system, rate, recipe in _recipes(systems.zoo):
        block = systems.block(_name(system, rate), recipe, seed)
        assert block.predictions is not None
        right = {
            HEAD: block.predictions("val") == val,
            NEIGHBOR: systems.predict(block, Neighbor())["val"] == val,
        }
        for metric, each in right.items():
            given = correct_rows(np.asarray(each), block.nesting, metric=metric, system=block.system)
            found += [replace(row, seed=seed) for row in given]
    return found


def _recipes(zoo: Zoo) -> list[tuple[str, float, Recipe]]:
    """(system, rate, recipe)."""
    dims, rate = zoo.settings.nesting.dims, zoo.settings.train.lr
    plain = [zoo.recipe(f"FF-{m}", Nesting((m,))) for m in (dims[0], dims[-1])]
    recipes = [*plain, *(zoo.recipe(system, tied=system == "MRL-E") for system in NESTED)]
    return [
        (recipe.system, factor * rate, replace(recipe, train=replace(recipe.train, lr=factor * rate)))
        for recipe in recipes
        for factor in _FACTORS
    ]


def _name(system: str, rate: float) -> str:
    return f"{system} at {rate:g}"


def _value(rows: Sequence[Row], metric: str, name: str) -> float:
    """The mean over the system's prefixes."""
    dims = [row.dims for row in rows if (row.metric, row.system) == (metric, name)]
    return float(np.mean([mean_of(rows, metric, name, m) for m in dims]))
