"""One file per table of the paper: `rows` measures, `section` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nestling.evaluation import Row
from nestling.studies.reproduce.experiments import (
    ablations,
    adaptive_classification,
    adaptive_retrieval,
    few_shot,
    groups,
    linear,
    retrieval,
    robustness,
    unseen,
)
from nestling.studies.reproduce.section import Section
from nestling.studies.reproduce.systems import Systems


class Experiment(NamedTuple):
    """What a name of ``nestling reproduce`` does."""

    rows: Callable[[Systems], list[Row]]
    section: Callable[[Sequence[Row], Systems], Section]


EXPERIMENTS: Mapping[str, Experiment] = {
    "linear": Experiment(linear.rows, linear.section),
    "unseen-widths": Experiment(unseen.rows, unseen.section),
    "adaptive-classification": Experiment(adaptive_classification.rows, adaptive_classification.section),
    "retrieval": Experiment(retrieval.rows, retrieval.section),
    "adaptive-retrieval": Experiment(adaptive_retrieval.rows, adaptive_retrieval.section),
    "few-shot": Experiment(few_shot.rows, few_shot.section),
    "classes": Experiment(groups.rows, groups.section),
    "robustness": Experiment(robustness.rows, robustness.section),
    "ablations": Experiment(ablations.rows, ablations.section),
}
