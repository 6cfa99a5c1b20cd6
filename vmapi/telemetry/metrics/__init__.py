"""Metrics for Prometheus: their declarations, their values, and the server of `/metrics`."""
