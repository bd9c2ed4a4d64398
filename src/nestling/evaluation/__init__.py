"""Arrays in, rows out: what embeddings, heads and plans are worth. No models, no torch."""

from nestling.evaluation.base import Classification, Evaluation, Vectors
from nestling.evaluation.cascade import Cascade
from nestling.evaluation.few_shot import FewShot
from nestling.evaluation.groups import by_frequency, coarse_rows, group_rows, macro_rows, superclasses
from nestling.evaluation.linear import (
    LinearProbe,
    LogisticRegression,
    Probe,
    linear_probe,
    logistic_regression,
    probe_each,
    top1_rows,
)
from nestling.evaluation.neighbors import Neighbor, OneNN, Vote, one_nn
from nestling.evaluation.ranking import Ranking
from nestling.evaluation.report import Row, dump_rows, load_rows, read_rows, save_rows
from nestling.evaluation.retrieval import class_rows, relevance, retrieval_rows

__all__ = [
    "Cascade",
    "Classification",
    "Evaluation",
    "FewShot",
    "LinearProbe",
    "LogisticRegression",
    "Neighbor",
    "OneNN",
    "Probe",
    "Ranking",
    "Row",
    "Vectors",
    "Vote",
    "by_frequency",
    "class_rows",
    "coarse_rows",
    "dump_rows",
    "group_rows",
    "linear_probe",
    "load_rows",
    "logistic_regression",
    "macro_rows",
    "one_nn",
    "probe_each",
    "read_rows",
    "relevance",
    "retrieval_rows",
    "save_rows",
    "superclasses",
    "top1_rows",
]
