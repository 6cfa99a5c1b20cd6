"""Benchmarks. Each program prints its results with the machine and the date."""
