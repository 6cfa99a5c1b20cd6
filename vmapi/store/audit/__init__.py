"""The audit trail: entries, queries and hash chain."""
