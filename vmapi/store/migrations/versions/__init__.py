"""Each change of the schema."""
