"""Inventory rows: observations, the overlay of operations, lists."""
