"""VMAPI_QUOTAS, and the project of who is asked."""

import pytest

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.quota import NO_QUOTAS, UNLIMITED, Limits, Quotas
from vmapi.errors import SettingsError
from vmapi.services.quotas import parse
from vmapi.settings.settings import Settings


@pytest.mark.parametrize(
    ("text", "quotas"),
    [
        ("", NO_QUOTAS),
        (" ", NO_QUOTAS),
        ("*:vms=100", Quotas({}, Limits(vms=100))),
        (
            "web:vms=10,vcpus=20,ram_mb=40960; *:vms=100",
            Quotas({"web": Limits(10, 20, 40_960)}, Limits(vms=100)),
        ),
        ("web : vms = 0", Quotas({"web": Limits(vms=0)})),
        ("*:vms=1;web:", Quotas({"web": UNLIMITED}, Limits(vms=1))),
        (f"{'a' * 64}:ram_mb=1", Quotas({"a" * 64: Limits(ram_mb=1)})),
    ],
)
def test_quotas(text: str, quotas: Quotas) -> None:
    assert parse(text) == quotas


@pytest.mark.parametrize(
    "text",
    [
        *("vms=10", "web", "web=10", ":vms=1", ";", "web:vms=1;", "web:vms=1;web:vcpus=1"),
        *("*:vms=1;*:vms=2", "web:vms=-1", "web:vms=1.5", "web:vms=", "web:disk_gb=1"),
        *("web:vms=1,vms=2", "a b:vms=1", f"{'a' * 65}:vms=1", "-web:vms=1", "é:vms=1"),
        *("web:vms=1000000000", "web:vms=one", "web:vms=1:vcpus=1"),
    ],
)
def test_what_is_no_quota_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^VMAPI_QUOTAS .*: allowed is "):
        create_app(Settings(log_level="CRITICAL", quotas=text), MemoryBackend())


def test_a_project_that_is_named_has_its_own_limits_only() -> None:
    quotas = parse("web:vms=1;db:;*:vcpus=2")
    found = [quotas.of(project) for project in ("web", "db", "mail")]
    assert found == [Limits(vms=1), UNLIMITED, Limits(vcpus=2)]
