"""The use cases, and the rules nothing else decides."""
