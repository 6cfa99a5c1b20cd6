"""Nova's servers: reads, changes, actions, and their mapping to VMs."""
