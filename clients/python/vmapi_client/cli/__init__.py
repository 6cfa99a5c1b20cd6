"""vmctl: the command line of vmapi."""
