"""The client with coroutines."""
