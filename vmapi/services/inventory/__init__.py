"""Keep the inventory in sync with the cloud, and read VMs from it."""
