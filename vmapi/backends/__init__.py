"""Drivers: one interface, `base.Backend`, and the clouds behind it."""
