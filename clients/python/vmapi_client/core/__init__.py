"""Requests, repeats and results without input or output.

A call is a plan: a generator that yields attempts and receives replies. `Client` and `AsyncClient`
run the same plans, each with its own transport.
"""
