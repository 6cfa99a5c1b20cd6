"""Settings: declaration, parsing and validation."""
