"""Operation rows: admission, transitions, leases, name reservations."""
