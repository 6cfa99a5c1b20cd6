"""The calls of the API as plans."""
