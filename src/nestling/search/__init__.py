"""Nearest neighbours by prefixes: exact, as a funnel over rings, and in an index of its own."""

from nestling.search.exact import Metric, exact, prefix_norms
from nestling.search.funnel import funnel
from nestling.search.hits import Hits
from nestling.search.index import Index
from nestling.search.merge import merge
from nestling.search.plan import Plan, Stage, Stored
from nestling.search.topk import topk
from nestling.search.tuner import Measured, Tuned

__all__ = [
    "Hits",
    "Index",
    "Measured",
    "Metric",
    "Plan",
    "Stage",
    "Stored",
    "Tuned",
    "exact",
    "funnel",
    "merge",
    "prefix_norms",
    "topk",
]
