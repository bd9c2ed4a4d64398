"""Widths that no nested model was trained on (paper: Figure 5, Table 5's interpolation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nestling.evaluation import Neighbor, Row
from nestling.evaluation.base import correct_rows
from nestling.nesting import Nesting
from nestling.studies import plots
from nestling.studies.reproduce.recipe import Training
from nestling.studies.reproduce.section import Section, by_prefix, lines_of, mean_of
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import NEIGHBOR, NESTED, Systems

_JUDGED = "Agrees: no width that was not trained on falls below its neighbours."


def trainings(systems: Systems) -> list[Training]:
    """The nested models."""
    return systems.nested_trainings(systems.settings.seeds)


def rows(systems: Systems) -> list[Row]:
    """1-NN of the nested models at trained and unseen widths."""
    dims = tuple(sorted({*systems.nesting, *systems.settings.unseen}))
    found: list[Row] = []
    for seed in systems.settings.seeds:
        for system in NESTED:
            block = replace(systems.nested(system, seed), nesting=Nesting(dims))
            right = systems.predict(block, Neighbor())["test"] == systems.images.test.labels
            given = correct_rows(right, block.nesting, metric=NEIGHBOR, system=system)
            found += [replace(row, seed=seed) for row in given]
    return found


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """The table, the plot, and how far unseen widths lie from the line through their neighbours."""
    dims, found = settings.nesting.dims, []
    for low, m, high in zip(dims, settings.unseen, dims[1:], strict=False):
        ours = mean_of(rows, NEIGHBOR, "MRL", m)
        between = (mean_of(rows, NEIGHBOR, "MRL", low) + mean_of(rows, NEIGHBOR, "MRL", high)) / 2
        found.append(f"{m} dims: {100 * ours:.2f} %, {100 * (ours - between):+.2f} from the mean of {low} and {high}")
    return Section(
        title="Widths never trained on",
        claim="Accuracy runs smoothly between the trained prefixes: any width may be used.",
        judged=_JUDGED,
        found=found,
        tables=[by_prefix("1-NN top-1, %", rows, NEIGHBOR)],
        pictures=[plots.over_dims({"1-NN top-1": lines_of(rows, NEIGHBOR)}, ylabel="accuracy, %")],
    )
