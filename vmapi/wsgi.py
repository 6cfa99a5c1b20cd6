"""The WSGI application of an installed vmapi: `vmapi.wsgi:app`."""

from vmapi.app import create_app
from vmapi.cli.command import refuse_start
from vmapi.errors import SettingsError

try:
    app = create_app()
except SettingsError as error:
    refuse_start(error.detail)
