"""What a WSGI server and the flask command load."""

import sys

from vmapi.app import create_app
from vmapi.errors import SettingsError

try:
    app = create_app()
except SettingsError as error:
    print(f"vmapi does not start: {error.detail}", file=sys.stderr)
    # what tells gunicorn that trying again is of no use
    sys.exit(3)
