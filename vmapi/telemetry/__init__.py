"""Logging. Used by the composition root only."""
