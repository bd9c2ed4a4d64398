"""The parts of ``python -m benchmarks.search``: data, peers, our own index, measurement, the plot."""
