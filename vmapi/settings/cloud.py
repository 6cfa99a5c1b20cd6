"""The settings of the cloud that is used."""

from dataclasses import dataclass
from typing import Any

from environs import ValidationError, validate

from vmapi.settings.field import setting


def _check_timeout_range(value: float) -> None:
    # put so that nan, which compares to nothing, is refused
    if not 1 <= value <= 300:
        raise ValidationError("")


def _non_empty(name: str) -> Any:
    return setting(name, None, "a text that is not empty", check=validate.Length(min=1))


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """Where the cloud is, as whom it is asked, and how the one in memory behaves."""

    backend_timeout: float = setting(
        "VMAPI_BACKEND_TIMEOUT", 30.0, "seconds, 1 to 300", "float", _check_timeout_range
    )
    default_network: str | None = _non_empty("VMAPI_DEFAULT_NETWORK")
    memory_latency: str = setting(
        "VMAPI_MEMORY_LATENCY", "0", "seconds, or ACTION=SECONDS,… (docs/memory.md)"
    )
    memory_faults: str = setting(
        "VMAPI_MEMORY_FAULTS", "", "FAULT=COUNT or FAULT=SHARE%, … (docs/memory.md)"
    )
    memory_limits: str = setting(
        "VMAPI_MEMORY_LIMITS", "", "vms=N,vcpus=N,ram_mb=N (docs/memory.md)"
    )
    os_cloud: str | None = _non_empty("OS_CLOUD")
    openstack_auth_url: str | None = setting(
        "OPENSTACK_AUTH_URL",
        None,
        "an http or https URL",
        check=validate.URL(schemes={"http", "https"}, require_tld=False),
    )
    openstack_username: str | None = _non_empty("OPENSTACK_USERNAME")
    openstack_password: str | None = setting(
        "OPENSTACK_PASSWORD", None, "a text that is not empty", secret=True
    )
    openstack_project: str | None = _non_empty("OPENSTACK_PROJECT")
