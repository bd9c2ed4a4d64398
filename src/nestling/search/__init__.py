"""Nearest neighbours by prefixes: exact, and as a funnel over rings. NumPy and one native kernel."""

from nestling.search.exact import Metric, exact, prefix_norms
from nestling.search.funnel import funnel
from nestling.search.hits import Hits
from nestling.search.plan import Plan, Stage
from nestling.search.topk import topk

__all__ = ["Hits", "Metric", "Plan", "Stage", "exact", "funnel", "prefix_norms", "topk"]
