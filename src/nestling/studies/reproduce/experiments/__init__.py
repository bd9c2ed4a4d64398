"""One file per table of the paper: `rows` measures, `section` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from nestling.evaluation import Row
from nestling.studies.reproduce.experiments import (
    ablations,
    adaptive_classification,
    adaptive_retrieval,
    few_shot,
    groups,
    linear,
    rates,
    retrieval,
    robustness,
    unseen,
)
from nestling.studies.reproduce.recipe import Training
from nestling.studies.reproduce.section import Section
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import Systems


class Experiment(Protocol):
    """What a name of ``nestling reproduce`` does; each is a module."""

    def trainings(self, systems: Systems) -> list[Training]:
        """The models that it needs."""
        ...

    def rows(self, systems: Systems) -> list[Row]:
        """What it measures."""
        ...

    def section(self, rows: Sequence[Row], settings: Settings) -> Section:
        """What it shows; the rows may be of several runs."""
        ...


EXPERIMENTS: Mapping[str, Experiment] = {
    "linear": linear,
    "unseen-widths": unseen,
    "adaptive-classification": adaptive_classification,
    "retrieval": retrieval,
    "adaptive-retrieval": adaptive_retrieval,
    "few-shot": few_shot,
    "classes": groups,
    "robustness": robustness,
    "ablations": ablations,
    "rates": rates,
}
