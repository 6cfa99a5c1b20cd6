"""Submit operations: idempotency, name reservations, waiting, results."""
