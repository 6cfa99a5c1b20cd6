"""The servers that vmapi is compared with: they serve the same bodies, and do nothing else."""
