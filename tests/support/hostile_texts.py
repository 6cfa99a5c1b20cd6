"""Texts that attackers send."""

HUGE = "x" * 1_000_000
SCRIPT = "<script>alert(1)</script>"
SQL = "'; DROP TABLE vms; --"
