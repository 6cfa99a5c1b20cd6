"""The reference of all log messages."""
