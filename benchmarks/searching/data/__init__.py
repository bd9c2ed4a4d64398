"""Vectors to search, made or read once and mapped afterwards."""

from benchmarks.searching.data.cases import CASES, QUICK_CASES, TEN_MILLION, Case, load
from benchmarks.searching.data.truth import K, Truth, recall

__all__ = ["CASES", "K", "QUICK_CASES", "TEN_MILLION", "Case", "Truth", "load", "recall"]
