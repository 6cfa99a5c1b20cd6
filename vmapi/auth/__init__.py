"""Authentication: token validators, independent of HTTP and of the database."""
