"""The audit trail: rows, queries and hash chain."""
