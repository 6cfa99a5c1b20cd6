"""The connection parameters of the cloud: URL, credentials, project, region.

The first source that is present wins: `OS_CLOUD` (a name in clouds.yaml), the `OS_*` variables of
the OpenStack command line client, the `OPENSTACK_*` settings of vmapi. The driver calls
`load_region` at start, and when the cloud refuses the credentials: the files may have others then.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.exceptions import SDKException

import vmapi
from vmapi.errors import SettingsError
from vmapi.settings.parsing import TRUE_WORDS
from vmapi.settings.settings import Settings
from vmapi.settings.tls import TLSOptions, check_tls_files

_new_config = partial(OpenStackConfig, app_name="vmapi", app_version=vmapi.__version__)


def load_region(settings: Settings) -> CloudRegion:
    """Return the configuration of the cloud, without a request to the cloud.

    Raises SettingsError when the credentials are missing or incomplete, or when a file of the TLS
    options cannot be used.
    """
    region = _load_region(settings)
    check_tls_files(tls_options(region))
    return region


def tls_options(region: CloudRegion) -> TLSOptions:
    """Return the TLS options of a region (`cacert`, `verify`, `cert`, `key`; `OS_CACERT` …)."""
    verify, cert = region.get_requests_verify_args()
    return TLSOptions(True if verify is None else verify, cert)


def _load_region(settings: Settings) -> CloudRegion:
    try:
        if settings.os_cloud:
            return _new_config().get_one(cloud=settings.os_cloud)
        if os.environ.get("OS_AUTH_URL"):
            config = _new_config(load_yaml_config=False)
            return config.get_one(cloud=config.envvar_key)
        return _region_from_settings(settings)
    except (SDKException, ClientException) as error:
        raise SettingsError(f"The credentials of the cloud cannot be used: {error}") from error


def _region_from_settings(settings: Settings) -> CloudRegion:
    credentials = {
        "OPENSTACK_AUTH_URL": settings.openstack_auth_url,
        "OPENSTACK_USERNAME": settings.openstack_username,
        "OPENSTACK_PASSWORD": settings.reread("openstack_password"),
        "OPENSTACK_PROJECT": settings.openstack_project,
    }
    missing = ", ".join(name for name, value in credentials.items() if not value)
    if missing:
        raise SettingsError(f"OpenStack needs OS_CLOUD, or OS_AUTH_URL and so on, or {missing}.")
    url, username, password, project = credentials.values()
    config = _new_config(load_yaml_config=False, load_envvars=False)
    return config.get_one(
        region_name=os.environ.get("OS_REGION_NAME", ""),
        **_tls_variables(),
        auth={
            "auth_url": url,
            "username": username,
            "password": password,
            "project_name": project,
            "user_domain_name": os.environ.get("OS_USER_DOMAIN_NAME", "Default"),
            "project_domain_name": os.environ.get("OS_PROJECT_DOMAIN_NAME", "Default"),
        },
    )


def _tls_variables() -> Mapping[str, Any]:
    """Return the TLS options of the command line client's variables."""
    names = {"cacert": "OS_CACERT", "cert": "OS_CERT", "key": "OS_KEY"}
    files = {option: os.environ[name] for option, name in names.items() if os.environ.get(name)}
    return {**files, "insecure": os.environ.get("OS_INSECURE", "").lower() in TRUE_WORDS}
