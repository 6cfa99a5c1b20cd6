"""The WSGI application of a checkout, for gunicorn and for `flask --app wsgi`."""

from vmapi.wsgi import app

__all__ = ["app"]
