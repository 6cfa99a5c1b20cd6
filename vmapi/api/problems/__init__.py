"""Problem details (RFC 9457): problem types, their schema, and error responses."""
