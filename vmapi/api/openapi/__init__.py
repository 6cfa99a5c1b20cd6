"""The OpenAPI document: the blueprint decorators that describe endpoints, and its headers."""
