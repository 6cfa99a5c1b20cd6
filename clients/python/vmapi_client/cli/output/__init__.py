"""Records on stdout, in the format of `--output`."""
