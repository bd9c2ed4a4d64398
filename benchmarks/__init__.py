"""Benchmarks: ``python -m benchmarks.NAME [--quick] [--json]``. Published runs are in results/."""
