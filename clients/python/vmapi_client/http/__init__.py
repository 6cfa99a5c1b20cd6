"""httpx, behind two transports: one with threads, one with coroutines."""
