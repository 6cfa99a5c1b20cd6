"""Operation rows: transitions, leases, name reservations."""
