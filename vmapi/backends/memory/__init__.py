"""The in-memory cloud: behaves as Nova does; its VMs end with the process."""
