"""Build apps of vmapi in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from flask import Flask

from bench.standin import fake_openstack
from vmapi.app import create_app
from vmapi.backends.base import Backend
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings


@contextmanager
def open_backend(*nova_options: str) -> Iterator[OpenStackBackend]:
    """Open the driver of a simulated OpenStack."""
    with fake_openstack(*nova_options) as url:
        settings = Settings(
            openstack_auth_url=f"{url}/identity/v3",
            openstack_username="bench",
            openstack_password="bench",
            openstack_project="bench",
        )
        backend = OpenStackBackend.from_settings(settings)
        try:
            yield backend
        finally:
            backend.close()


@contextmanager
def build_app(driver: Backend, url: str | None, **settings: Any) -> Iterator[Flask]:
    """Build an app with a database, or with one of its choice; its log lines go to /dev/null."""
    rates = dict.fromkeys(("rate_reads", "rate_changes", "rate_address"), ())
    with Path(os.devnull).open("w") as log:
        with redirect_stdout(log):
            app = create_app(
                Settings(database_url=url, auth=("none",), **{**rates, **settings}), driver
            )
        app.extensions["vmapi"].store.upgrade()
        try:
            yield app
        finally:
            app.extensions["vmapi"].store.close()
