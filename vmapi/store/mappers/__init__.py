"""Map rows to domain objects and back."""
