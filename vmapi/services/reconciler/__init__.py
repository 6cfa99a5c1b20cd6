"""Reconcile unfinished operations with the cloud, step by step."""
