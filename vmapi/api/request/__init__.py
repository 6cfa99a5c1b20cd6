"""Read a request: its context, caller, conditional headers and JSON body."""
