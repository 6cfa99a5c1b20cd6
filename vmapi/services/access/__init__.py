"""API tokens and rate limits of callers."""
