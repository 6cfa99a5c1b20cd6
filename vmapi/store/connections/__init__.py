"""Connections to the database: options, timeouts, files, outages, and spans of statements."""
