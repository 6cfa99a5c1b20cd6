"""Threads and their limits, without any knowledge of vmapi."""
