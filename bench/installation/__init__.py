"""A large installation on one PostgreSQL: `python -m bench.installation`."""
