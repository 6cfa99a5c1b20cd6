"""Settings of the in-memory cloud: syntax, refused values, effect on the driver."""

import pytest

from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb
from vmapi.errors import SettingsError
from vmapi.settings.memory import MemoryLimits, parse_latency, parse_memory_limits
from vmapi.settings.settings import Settings

MALFORMED_NUMBERS = ["nan", "inf", "-1", "+1", "1e3", "1_0", "x", "", "٣", "0x1", "1.", "1.0.0"]


def test_single_latency_applies_to_all_verbs() -> None:
    assert set(parse_latency("0.5").values()) == {0.5}
    assert set(parse_latency("").values()) == {0.0}


def test_latency_applies_to_named_verbs() -> None:
    seconds = parse_latency("create=2, stop=0.5 ,restart=3,restart_hard=4,*=0.1")
    assert seconds[Verb.CREATE] == 2
    assert seconds[Verb.STOP] == 0.5
    assert seconds[Verb.RESTART_SOFT] == 3
    assert seconds[Verb.RESTART_HARD] == 4
    assert seconds[Verb.PAUSE] == 0.1
    assert parse_latency("stop=1")[Verb.START] == 0


@pytest.mark.parametrize(
    "text",
    [
        *(number for number in MALFORMED_NUMBERS if number),
        *(f"stop={number}" for number in MALFORMED_NUMBERS),
        *("3601", "reboot=1", "stop", "stop=1,stop=2", "1,stop=2", "stop=1,", "=1", "stop=1=2"),
    ],
)
def test_malformed_latency_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"VMAPI_MEMORY_LATENCY .*allowed is seconds"):
        Settings.from_environ({"VMAPI_MEMORY_LATENCY": text})


@pytest.mark.parametrize(
    "text",
    [
        *(f"unavailable={number}" for number in MALFORMED_NUMBERS),
        *("unavailable", "unavailable=101%", "unavailable=1.5", "unavailable=%", "fire=1"),
        *("unavailable=1:2", "slow=1", "slow=1:", "slow=1:nan", "slow=10%:3601", "slow=:1"),
        *("unavailable=1,unavailable=2", "unavailable=1;slow=1:1"),
    ],
)
def test_malformed_faults_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"VMAPI_MEMORY_FAULTS .*allowed is"):
        Settings.from_environ({"VMAPI_MEMORY_FAULTS": text})
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the refused text
        MemoryBackend().set_faults(text)


def test_limits_replace_the_named_defaults() -> None:
    assert parse_memory_limits("") == MemoryLimits(100, 200, 409_600)
    assert parse_memory_limits("ram_mb=512, vms=0") == MemoryLimits(0, 200, 512)


@pytest.mark.parametrize(
    "text", [*(f"vms={n}" for n in MALFORMED_NUMBERS), "vms=1.5", "disks=1", "vms=1,vms=2", "5"]
)
def test_malformed_limits_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"VMAPI_MEMORY_LIMITS .*allowed is"):
        Settings.from_environ({"VMAPI_MEMORY_LIMITS": text})


def test_default_network_is_selected_by_name_or_id() -> None:
    private = next(network for network in MemoryBackend().list_networks() if network.default)
    assert private.name == "private"
    for selected in (
        "public",
        *(network.id for network in MemoryBackend().list_networks() if not network.default),
    ):
        networks = MemoryBackend(default_network=selected).list_networks()
        assert {network.name: network.default for network in networks} == {
            "private": False,
            "public": True,
        }
    with pytest.raises(SettingsError, match="VMAPI_DEFAULT_NETWORK 'dmz': allowed is private"):
        MemoryBackend(default_network="dmz")


def test_driver_describes_its_settings() -> None:
    settings = Settings.from_environ(
        {
            "VMAPI_MEMORY_LATENCY": "1",
            "VMAPI_MEMORY_FAULTS": "slow=1:2",
            "VMAPI_MEMORY_LIMITS": "vms=3",
        }
    )
    description = MemoryBackend.from_settings(settings).describe()
    assert description["latency"] == "1"
    assert description["faults"] == "slow=1:2"
    assert description["limits"] == "vms=3,vcpus=200,ram_mb=409600"


def test_flavor_ids_are_the_same_in_every_process() -> None:
    ids = {flavor.name: flavor.id for flavor in MemoryBackend().list_flavors()}
    assert ids["m1.tiny"] == "48b77bab-8ca6-58d3-ae5e-ccf01853b9a1"
