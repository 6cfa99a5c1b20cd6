"""The in-memory cloud: behaves as Nova does, without a network, and loses its VMs at the end."""
