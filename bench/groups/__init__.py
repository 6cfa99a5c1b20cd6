"""The groups of rows: each starts its servers, measures, and yields its results."""
