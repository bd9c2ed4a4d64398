"""Arrays in, rows out: what embeddings, heads and plans are worth. No models, no torch."""

from nestling.evaluation.cascade import Cascade
from nestling.evaluation.linear import LinearProbe, linear_probe, probe_each, top1_rows
from nestling.evaluation.neighbors import OneNN, one_nn
from nestling.evaluation.report import Row, dump_rows, load_rows, read_rows, save_rows
from nestling.evaluation.retrieval import class_rows, relevance, retrieval_rows

__all__ = [
    "Cascade",
    "LinearProbe",
    "OneNN",
    "Row",
    "class_rows",
    "dump_rows",
    "linear_probe",
    "load_rows",
    "one_nn",
    "probe_each",
    "read_rows",
    "relevance",
    "retrieval_rows",
    "save_rows",
    "top1_rows",
]
