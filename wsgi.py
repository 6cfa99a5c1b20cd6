"""The WSGI application, for gunicorn and for `flask --app wsgi`."""

import sys

from vmapi.app import create_app
from vmapi.errors import SettingsError

try:
    app = create_app()
except SettingsError as error:
    print(f"vmapi does not start: {error.detail}", file=sys.stderr)
    # the status that stops gunicorn from restarting the worker
    sys.exit(3)
