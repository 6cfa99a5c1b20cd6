"""Inventory rows: observations, the overlay of operations, and lists."""
