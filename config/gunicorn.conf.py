"""Configuration of gunicorn in a checkout: `gunicorn -c config/gunicorn.conf.py wsgi:app`.

Settings below the import replace those of the package.
"""

from vmapi.server.gunicorn_config import *  # noqa: F403
