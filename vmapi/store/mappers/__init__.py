"""Mapping between rows and domain objects."""
