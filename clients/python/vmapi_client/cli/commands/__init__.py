"""The commands of vmctl."""
