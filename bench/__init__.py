"""Benchmarks: `python -m bench` measures the aims, `python -m bench.profile` the causes."""
