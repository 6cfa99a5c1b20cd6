"""Gunicorn classes: the worker and the logger."""
