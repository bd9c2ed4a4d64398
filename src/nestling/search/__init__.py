"""Nearest neighbours by prefixes: exact, and as a funnel over rings. NumPy and one native kernel."""

from nestling.search.exact import Metric, exact, prefix_norms
from nestling.search.funnel import funnel
from nestling.search.hits import Hits
from nestling.search.merge import merge
from nestling.search.plan import Plan, Stage, Stored
from nestling.search.topk import topk

__all__ = ["Hits", "Metric", "Plan", "Stage", "Stored", "exact", "funnel", "merge", "prefix_norms", "topk"]
