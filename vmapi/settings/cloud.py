"""Settings of the cloud: driver, timeout, network, and the credentials of OpenStack."""

from dataclasses import dataclass

from vmapi.settings.declaration import setting
from vmapi.settings.parsing import decimal_seconds, matching, non_empty_text
from vmapi.settings.patterns import HTTP_URL


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """The cloud behind the API, and the account that vmapi uses there."""

    backend: str = setting(
        "VMAPI_BACKEND",
        matching(
            r"[a-z][a-z0-9_-]*",
            "memory, openstack, or the name of an entry point in the group vmapi.backends",
        ),
        "memory",
        "The driver of the cloud. Other packages add drivers as entry points in the group "
        "`vmapi.backends`.",
    )
    backend_timeout: float = setting(
        "VMAPI_BACKEND_TIMEOUT",
        decimal_seconds(1, 300),
        "30",
        "Longest time for one call to the cloud. Above 60, also raise `proxy_read_timeout` of "
        "nginx.",
    )
    default_network: str | None = setting(
        "VMAPI_DEFAULT_NETWORK",
        non_empty_text(),
        "",
        "The network, by name or id, of VMs created without one.",
        example="private",
    )
    os_cloud: str | None = setting(
        "OS_CLOUD",
        non_empty_text(),
        "",
        "For `openstack`: an entry of `clouds.yaml` (`config/clouds.example.yaml`). `OS_AUTH_URL` "
        "and the other `OS_*` variables of the SDK work too.",
        example="mycloud",
    )
    openstack_auth_url: str | None = setting(
        "OPENSTACK_AUTH_URL",
        matching(HTTP_URL, "an http or https URL"),
        "",
        "For `openstack`, without `OS_*` variables: the URL of Keystone.",
        example="https://keystone.example.org/v3",
    )
    openstack_username: str | None = setting(
        "OPENSTACK_USERNAME", non_empty_text(), "", "The user at that Keystone.", example="vmapi"
    )
    openstack_password: str | None = setting(
        "OPENSTACK_PASSWORD", non_empty_text(), "", "The password of that user.", is_secret=True
    )
    openstack_project: str | None = setting(
        "OPENSTACK_PROJECT", non_empty_text(), "", "The project of that user.", example="web"
    )
