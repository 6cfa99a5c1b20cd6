"""GraphQL requests: reading them, and the checks before their validation and execution."""
