"""vmapi: a REST API to create, change and delete OpenStack virtual machines."""

__version__ = "0.1.0"
