"""Benchmarks: each prints what it measured, on which machine and when."""
