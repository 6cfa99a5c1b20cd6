"""URL and token of the Python client: their sources, their precedence, and the contexts file."""

import json
from pathlib import Path

import pytest

from vmapi_client import Client
from vmapi_client.configuration import Configuration, load_configuration, split_url
from vmapi_client.contexts import Context, ContextStore
from vmapi_client.errors import ConfigurationError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables that name an empty contexts file."""
    return {"VMAPI_CONTEXTS_FILE": str(tmp_path / "vmapi/contexts.json")}


@pytest.fixture
def store(environ: dict[str, str]) -> ContextStore:
    return ContextStore.from_environment(environ)


def summarize(configuration: Configuration) -> tuple[str, str | None]:
    return configuration.root, configuration.read_token()


def test_arguments_precede_variables_and_these_the_current_context(
    environ: dict[str, str], store: ContextStore
) -> None:
    store.save(Context("prod", "https://context.example.org", token="context"))
    assert summarize(load_configuration(environ=environ)) == (
        "https://context.example.org",
        "context",
    )
    environ |= {"VMAPI_URL": "https://variable.example.org", "VMAPI_TOKEN": "variable"}
    assert summarize(load_configuration(environ=environ)) == (
        "https://variable.example.org",
        "variable",
    )
    arguments = load_configuration("https://argument.example.org", "argument", environ=environ)
    assert summarize(arguments) == ("https://argument.example.org", "argument")
    named = load_configuration(context="prod", environ=environ)
    assert summarize(named) == ("https://context.example.org", "context")


def test_token_of_a_context_goes_to_its_own_url_only(
    environ: dict[str, str], store: ContextStore
) -> None:
    store.save(Context("prod", "https://context.example.org", token="secret"))
    other = load_configuration("https://other.example.org", environ=environ)
    assert summarize(other) == ("https://other.example.org", None)
    environ["VMAPI_TOKEN"] = "variable"
    assert summarize(load_configuration("https://other.example.org", environ=environ)) == (
        "https://other.example.org",
        "variable",
    )


def test_token_file_is_read_for_each_request(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    environ |= {"VMAPI_URL": "http://127.0.0.1", "VMAPI_TOKEN_FILE": str(file)}
    configuration = load_configuration(environ=environ)
    with pytest.raises(ConfigurationError, match="VMAPI_TOKEN_FILE: the token cannot be read"):
        configuration.read_token()
    file.write_text("first\n")
    assert configuration.read_token() == "first"
    file.write_text("second\n")
    assert configuration.read_token() == "second"
    file.write_text("two words")
    with pytest.raises(ConfigurationError, match="VMAPI_TOKEN_FILE has no token"):
        configuration.read_token()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://vmapi.example.org", ("https://vmapi.example.org", "/api/v1")),
        ("https://vmapi.example.org/", ("https://vmapi.example.org", "/api/v1")),
        ("http://127.0.0.1:8000/api/v1/", ("http://127.0.0.1:8000", "/api/v1")),
        ("http://[::1]:8000/api/v2", ("http://[::1]:8000", "/api/v2")),
        ("https://example.org/cloud/api/v1", ("https://example.org/cloud", "/api/v1")),
        ("https://example.org/cloud", ("https://example.org/cloud", "/api/v1")),
    ],
)
def test_url_may_have_the_base_path(url: str, expected: tuple[str, str]) -> None:
    assert split_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "vmapi.example.org",
        "ftp://example.org",
        "https://",
        "https://h:x",
        "/api",
        "https://u:secret@h",  # pragma: allowlist secret
        "https://:secret@h",
        "https://u:sec/secret@h",
        "https://u:sec\nsecret@h",  # pragma: allowlist secret
        "u:secret@h",
    ],
)
def test_text_that_is_no_url_is_refused(url: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="the argument url is") as caught:
        load_configuration(url, environ=environ)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://u:secret@h:port",  # pragma: allowlist secret
        "http://u:sec/ret@h:1",
        "foo://h",
    ],
)
def test_unusable_proxy_of_the_environment_is_refused(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="The proxy or the certificates of the env") as e:
        Client("http://127.0.0.1:9")
    assert "secret" not in str(e.value)


def test_missing_url_is_refused_with_the_ways_to_set_it(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="set VMAPI_URL"):
        load_configuration(environ=environ)
    with pytest.raises(ConfigurationError, match="No context 'prod'"):
        load_configuration(context="prod", environ=environ)


def test_contexts_are_private_and_the_first_one_is_current(store: ContextStore) -> None:
    store.save(Context("prod", "https://prod.example.org", token="secret"))
    store.save(Context("test", "http://127.0.0.1:8000"))
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700
    assert store.load()[0] == "prod"
    store.use("test")
    store.set_token("test", "other")
    assert store.find() == Context("test", "http://127.0.0.1:8000", token="other")
    assert "other" not in repr(store.find())
    store.remove("test")
    assert store.find() is None
    assert [path.name for path in store.path.parent.iterdir()] == ["contexts.json"]


def test_contexts_that_others_can_read_are_refused(store: ContextStore) -> None:
    store.save(Context("prod", "https://prod.example.org", token="secret"))
    store.path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        store.load()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"contexts": {"a": {"token": "x"}}}', '{"current": 1}']
)
def test_malformed_contexts_are_refused(store: ContextStore, text: str) -> None:
    store.path.parent.mkdir()
    store.path.write_text(text)
    with pytest.raises(ConfigurationError, match="is malformed"):
        store.load()


def test_members_of_a_newer_contexts_file_are_ignored(store: ContextStore) -> None:
    store.path.parent.mkdir()
    contexts = {"prod": {"url": "https://prod.example.org", "color": "red"}}
    store.path.write_text(json.dumps({"current": "prod", "contexts": contexts, "version": 2}))
    assert store.find() == Context("prod", "https://prod.example.org")
