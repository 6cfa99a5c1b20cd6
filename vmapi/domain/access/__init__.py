"""Callers: identities, roles, projects, API tokens and rate limits."""
