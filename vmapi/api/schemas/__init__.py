"""Marshmallow schemas and fields for request and response bodies."""
