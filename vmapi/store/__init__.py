"""The database: tables, repositories and the protocols between processes."""
