"""Use cases on VMs: create, actions, updates, bulk actions."""
