"""vmapi: the REST API for the life of OpenStack virtual machines."""

__version__ = "0.1.0"
