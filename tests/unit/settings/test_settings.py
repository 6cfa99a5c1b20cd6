"""Loading of settings: precedence, allowed values, error messages, secrets."""

import os
from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from pathlib import Path

import pytest

from vmapi.domain.access.rate_limit import RateLimit
from vmapi.domain.access.roles import Role
from vmapi.domain.lifecycle import Verb
from vmapi.domain.quota import QuotaConfig, ResourceLimits
from vmapi.errors import SettingsError
from vmapi.settings.memory import FaultKind, FaultRule, MemoryLimits
from vmapi.settings.operations import ENGINES
from vmapi.settings.server import LOG_LEVELS
from vmapi.settings.settings import CLIENT_VARIABLES, DECLARATIONS, Settings

SECRET = "hunter2"
NAMES = {declared.name: field for field, declared in DECLARATIONS.items()}


@pytest.fixture(autouse=True)
def environment() -> Iterator[MutableMapping[str, str]]:
    """Remove all settings from the environment, and restore it afterwards."""
    original = dict(os.environ)
    for name in original:
        if name in NAMES or name.startswith(("VMAPI_", "OS_")):
            del os.environ[name]
    yield os.environ
    os.environ.clear()
    os.environ.update(original)


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def load_error(dotenv: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(dotenv)
    return caught.value.detail


def test_empty_environment_loads_the_defaults(dotenv: Path) -> None:
    loaded = Settings.load(dotenv)
    assert loaded == Settings()
    assert (loaded.backend, loaded.bind, loaded.api_version) == ("memory", "127.0.0.1:8000", "v1")


def test_environment_precedes_dotenv_precedes_defaults(
    environment: MutableMapping[str, str], dotenv: Path
) -> None:
    dotenv.write_text("API_VERSION=v2\nLOG_LEVEL=DEBUG\nVMAPI_THREADS=4\n")
    environment["API_VERSION"] = "v3"
    loaded = Settings.load(dotenv)
    assert (loaded.api_version, loaded.log_level, loaded.threads) == ("v3", "DEBUG", 4)
    assert loaded.bind == Settings().bind


def test_dotenv_is_copied_into_the_environment(
    environment: MutableMapping[str, str], dotenv: Path
) -> None:
    dotenv.write_text("OS_CLIENT_CONFIG_FILE=/etc/clouds.yaml\n")
    Settings.load(dotenv)
    assert environment["OS_CLIENT_CONFIG_FILE"] == "/etc/clouds.yaml"


def test_empty_value_counts_as_unset(environment: MutableMapping[str, str], dotenv: Path) -> None:
    environment.update(dict.fromkeys(NAMES, ""))
    assert Settings.load(dotenv) == Settings()


ALLOWED_VALUES = [
    ("VMAPI_BACKEND", "openstack", "openstack"),
    ("VMAPI_BIND", "[::1]:80", "[::1]:80"),
    ("VMAPI_BIND", "unix:/run/vmapi.sock", "unix:/run/vmapi.sock"),
    ("VMAPI_WORKERS", "64", 64),
    ("VMAPI_THREADS", "2", 2),
    ("API_VERSION", "v12", "v12"),
    *(("LOG_LEVEL", level, level) for level in LOG_LEVELS),
    ("VMAPI_BACKEND_TIMEOUT", "1", 1.0),
    ("VMAPI_BACKEND_TIMEOUT", "2.5", 2.5),
    ("VMAPI_DEFAULT_NETWORK", "private", "private"),
    *(("VMAPI_DEFAULT_PROJECT", text, text) for text in ("w", "A.b_c-9", "9" * 64)),
    ("VMAPI_QUOTAS", "*:vms=1", QuotaConfig({}, ResourceLimits(vms=1))),
    ("VMAPI_MEMORY_LATENCY", "create=2", {**dict.fromkeys(Verb, 0.0), Verb.CREATE: 2.0}),
    *(
        ("VMAPI_AUTH", text, tuple(text.split(",")))
        for text in ("none", "token", "token,jwt,keystone")
    ),
    *(("VMAPI_ALLOW_ANONYMOUS", text, text == "true") for text in ("true", "false")),
    *(
        ("VMAPI_JWT_ISSUER", url, url)
        for url in ("https://e.org/realms/a", "http://127.0.0.1:3000", "http://localhost:80/")
    ),
    ("VMAPI_JWT_ALGORITHMS", "EdDSA,ES512", ("EdDSA", "ES512")),
    ("VMAPI_JWT_TYPES", "at+jwt,JWT", ("at+jwt", "JWT")),
    ("VMAPI_KEYSTONE_URL", "http://keystone:5000/v3", "http://keystone:5000/v3"),
    ("VMAPI_KEYSTONE_ROLES", "cloud-ops=admin", {"cloud-ops": Role.ADMIN}),
    ("VMAPI_JWT_LEEWAY", "0", 0),
    ("VMAPI_JWT_ROLES", "vmapi:ro=viewer,x y=admin", {"vmapi:ro": Role.VIEWER, "x y": Role.ADMIN}),
    ("VMAPI_RETENTION", "2", timedelta(days=2)),
    ("VMAPI_EVENT_RETENTION", "3", timedelta(hours=3)),
    ("VMAPI_CORS_ORIGINS", "https://a.example, http://b:81", ("https://a.example", "http://b:81")),
    ("VMAPI_RATE_READS", "off", ()),
    ("VMAPI_RATE_CHANGES", "9/hour", (RateLimit(9, "hour", "changes-per-hour"),)),
    ("VMAPI_MEMORY_FAULTS", "slow=10%:2", {FaultKind.SLOW: FaultRule(0, 0.1, 2.0)}),
    ("VMAPI_MEMORY_LIMITS", "vms=3", MemoryLimits(vms=3)),
    ("OS_CLOUD", "mycloud", "mycloud"),
    *(
        ("OPENSTACK_AUTH_URL", url, url)
        for url in (
            "http://keystone:5000/v3",
            "HTTPS://keystone.example.org",
            "https://[2001:db8::5]:5000/identity/v3",
            "https://user:hunter2%40@192.0.2.1/v3/?a=b#c",
            "http://büro.example/v3",
            f"http://{'k' * 63}.x-1.example.:5000",
        )
    ),
    ("OPENSTACK_PASSWORD", SECRET, SECRET),
    *(("VMAPI_ENGINE", engine, engine) for engine in ENGINES),
    ("VMAPI_BROKER_URL", "amqps://u:p@h:5671/v", "amqps://u:p@h:5671/v"),
    ("VMAPI_DATABASE_URL", "sqlite:////var/lib/x", "sqlite:////var/lib/x"),
    ("VMAPI_DATABASE_URL", "postgresql+psycopg://u:p@h/n", "postgresql+psycopg://u:p@h/n"),
]


@pytest.mark.parametrize(("name", "text", "value"), ALLOWED_VALUES)
def test_allowed_value_is_parsed(
    environment: MutableMapping[str, str], dotenv: Path, name: str, text: str, value: object
) -> None:
    environment[name] = text
    loaded = Settings.load(dotenv)
    assert getattr(loaded, NAMES[name]) == value


BAD_URLS = [
    *("keystone:5000", "ftp://keystone", "http://", "http://:5000", "http:///v3", "http://k k/v3"),
    *("http://keystone:port", "http://keystone:123456", "http://[::1", "http://keystone\n", "//k"),
    *("http://-k", "http://k-", "http://k..org", "http://.k", "http://k_1", "http://k;l/v3"),
    *("http://k,l/v3", "http://%6b/v3", f"http://{'k' * 64}.org"),
]
REFUSED_VALUES = [
    *(("VMAPI_BACKEND", text) for text in ("Memory", "a b", "-x", "memory\n")),
    *(("VMAPI_BIND", text) for text in ("localhost", ":80", "unix:", "a b:80", "h:123456", "h:")),
    *(("VMAPI_WORKERS", text) for text in ("0", "65", "two", "1.5", "-1")),
    *(("VMAPI_THREADS", text) for text in ("1", "257", "many")),
    *(("API_VERSION", text) for text in ("1", "v0", "v1/x", "v1.1", "V1")),
    *(("LOG_LEVEL", text) for text in ("info", "LOUD", "10")),
    *(("VMAPI_BACKEND_TIMEOUT", text) for text in ("0", "301", "nan", "inf", "soon", "-1")),
    *(("VMAPI_DEFAULT_PROJECT", text) for text in ("-w", "w/b", "w b", "w\n", "é", "w" * 65)),
    *(("VMAPI_ENGINE", text) for text in ("Thread", "redis", "thread ")),
    *(("VMAPI_AUTH", text) for text in ("basic", "token,", "token, jwt", "None")),
    *(("VMAPI_ALLOW_ANONYMOUS", text) for text in ("perhaps", "2", " true ")),
    *(
        ("VMAPI_JWT_ISSUER", text)
        for text in ("http://e.org", "e.org", "https://e.org/?a", "ftp://e")
    ),
    *(("VMAPI_JWT_ALGORITHMS", text) for text in ("HS256", "none", "RS256,HS256", "rs256")),
    *(("VMAPI_JWT_LEEWAY", text) for text in ("-1", "121", "long")),
    ("VMAPI_KEYSTONE_URL", "keystone:5000"),
    ("VMAPI_KEYSTONE_ROLES", "member=owner"),
    *(("VMAPI_JWT_ROLES", text) for text in ("a", "a=root", "a=admin,", "=admin")),
    *(("OPENSTACK_AUTH_URL", text) for text in BAD_URLS),
]


@pytest.mark.parametrize(("name", "text"), REFUSED_VALUES)
def test_refused_value_is_reported_with_the_allowed_values(
    environment: MutableMapping[str, str], dotenv: Path, name: str, text: str
) -> None:
    environment[name] = text
    allowed = DECLARATIONS[NAMES[name]].format.allowed
    assert load_error(dotenv) == f"{name} {text!r}: allowed is {allowed}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("VMAPI_BROKER_URL", f"{scheme}://u:{SECRET}@h") for scheme in ("redis", "http", "AMQP")),
        *(("VMAPI_DATABASE_URL", f"{scheme}://u:{SECRET}@h/n") for scheme in ("mysql", "postgres")),
        ("VMAPI_DATABASE_URL", "sqlite://"),
        ("VMAPI_DATABASE_URL", f"postgresql://u:{SECRET}@h/n"),
    ],
)
def test_refused_secret_is_reported_without_its_value(
    environment: MutableMapping[str, str], dotenv: Path, name: str, text: str
) -> None:
    environment[name] = text
    assert load_error(dotenv) == f"{name}: allowed is {DECLARATIONS[NAMES[name]].format.allowed}"


@pytest.mark.parametrize("name", ["VMAPI_JWT_AUDIENCE", "VMAPI_AUDIT_KEY", "VMAPI_DATABASE_URL"])
def test_value_that_is_not_utf_8_is_refused(
    environment: MutableMapping[str, str], dotenv: Path, name: str
) -> None:
    environment[name] = "sqlite:////data/" + b"k\xff".decode(errors="surrogateescape") * 32
    assert load_error(dotenv).endswith(": not text in UTF-8")
    assert load_error(dotenv).startswith(name)


def test_all_problems_are_reported_in_one_message(
    environment: MutableMapping[str, str], dotenv: Path
) -> None:
    dotenv.write_text("LOG_LEVEL=LOUD\n")
    environment.update(VMAPI_THREADS="0", VMAPI_TREADS="8", OPENSTACK_PASSWORD=SECRET)
    message = load_error(dotenv)
    assert message.startswith("VMAPI_TREADS: no such setting; ")
    assert "; VMAPI_THREADS '0': allowed is " in message
    assert "; LOG_LEVEL 'LOUD': allowed is " in message
    assert SECRET not in message


def test_unknown_setting_is_reported_with_the_known_names(
    environment: MutableMapping[str, str], dotenv: Path
) -> None:
    environment["VMAPI_PORT"] = SECRET
    message = load_error(dotenv)
    known = sorted(name for name in NAMES if name.startswith("VMAPI_"))
    assert message == (
        "VMAPI_PORT: no such setting; those that begin with VMAPI_ are " + ", ".join(known)
    )


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("VMAPI_LOG_LEVEL", "its name is LOG_LEVEL"),
        ("VMAPI_OS_CLOUD", "its name is OS_CLOUD"),
        ("VMAPI_TREADS", "VMAPI_THREADS is similar"),
        ("VMAPI_DATABASE", "VMAPI_DATABASE_URL is similar"),
    ],
)
def test_unknown_setting_is_reported_with_the_name_that_was_meant(
    environment: MutableMapping[str, str], dotenv: Path, name: str, suggestion: str
) -> None:
    environment[name] = SECRET
    assert load_error(dotenv) == f"{name}: no such setting; {suggestion}"


def test_secrets_are_not_in_the_repr(environment: MutableMapping[str, str], dotenv: Path) -> None:
    environment.update(OPENSTACK_PASSWORD=SECRET, OPENSTACK_USERNAME="me")
    environment["VMAPI_DATABASE_URL"] = f"postgresql+psycopg://u:{SECRET}@h/n"
    environment["VMAPI_BROKER_URL"] = f"amqp://u:{SECRET}@h//"
    loaded = Settings.load(dotenv)
    assert loaded.openstack_password == SECRET
    assert SECRET not in repr(loaded) + str(loaded)
    assert "openstack_username='me'" in repr(loaded)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (Settings(), 1),
        (Settings(backend="openstack"), 2),
        (Settings(backend="openstack", workers=5), 5),
        (Settings(workers=3), 3),
    ],
)
def test_worker_count_depends_on_the_backend(settings: Settings, count: int) -> None:
    assert settings.worker_count == count


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            (declared.name, declared.default or declared.example)
            for declared in DECLARATIONS.values()
        ),
        *(
            ("VMAPI_DEADLINES", text)
            for text in ("*=60", "create=90,*=60", "create=90,stop=10,*=60")
        ),
        ("VMAPI_MEMORY_LATENCY", "create=2"),
        ("VMAPI_MEMORY_FAULTS", "no_capacity=0,unavailable=12.5%,slow=3:0.5"),
        ("VMAPI_QUOTAS", "a:vms=1,ram_mb=2;b:;*:vcpus=0"),
        ("VMAPI_RATE_READS", "off"),
    ],
)
def test_rendered_value_is_the_parsed_text(name: str, text: str) -> None:
    declared = DECLARATIONS[NAMES[name]]
    assert text == "" or declared.render(declared.format.parse(text)) == text


def test_variables_of_the_client_are_no_settings_of_the_server() -> None:
    # a shell that uses vmctl may also start the server
    variables = dict.fromkeys(CLIENT_VARIABLES, "text")
    assert Settings.from_environ(variables) == Settings.from_environ({})
