"""The in-memory cloud: behaves as Nova does, needs nothing, forgets everything."""
