"""Files of TLS options: each file that cannot be used is named."""

from pathlib import Path

import pytest

from tests.support.certificates import create_certificate
from vmapi.errors import SettingsError
from vmapi.settings.tls import CA_BUNDLE_VARIABLES, TLSOptions, check_tls_files


@pytest.fixture(autouse=True)
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CA_BUNDLE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def rejection(options: TLSOptions) -> str:
    with pytest.raises(SettingsError) as caught:
        check_tls_files(options)
    return caught.value.detail


def test_usable_files_are_accepted(tmp_path: Path) -> None:
    certificate, key = create_certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "0a1b2c3d.0").write_bytes(certificate.read_bytes())
    for verify in (True, False, str(certificate), str(hashed)):
        check_tls_files(TLSOptions(verify, (str(certificate), str(key))))
        check_tls_files(TLSOptions(verify, str(both)))


def test_missing_ca_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.pem")
    expected = f"The CA certificates {path}: cannot be read (No such file or directory)"
    assert rejection(TLSOptions(path)) == expected


@pytest.mark.parametrize("name", CA_BUNDLE_VARIABLES)
def test_missing_bundle_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "/nonexistent.pem")
    assert rejection(TLSOptions()).startswith("The CA certificates /nonexistent.pem: cannot")
    check_tls_files(TLSOptions(verify=False))


@pytest.mark.parametrize("content", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_ca_file_without_certificate_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(content)
    expected = f"The CA certificates {path}: contains no certificate in PEM"
    assert rejection(TLSOptions(str(path))) == expected


def test_directory_that_openssl_cannot_search_is_named(tmp_path: Path) -> None:
    create_certificate(tmp_path)
    detail = rejection(TLSOptions(str(tmp_path)))
    assert detail.startswith(f"The CA certificates {tmp_path}: a directory without hashed names")


def test_unusable_client_certificate_is_named(tmp_path: Path) -> None:
    certificate, key = create_certificate(tmp_path)
    _, other_key = create_certificate(tmp_path, "other")
    missing = str(tmp_path / "missing.key")
    wrong_content = "no certificate in PEM with its key, without a passphrase"
    for cert, expected in (
        ((str(certificate), missing), f"{missing}: cannot be read (No such file or directory)"),
        (missing, f"{missing}: cannot be read (No such file or directory)"),
        (str(tmp_path), f"{tmp_path}: cannot be read (Is a directory)"),
        (str(certificate), f"{certificate}: {wrong_content}"),
        ((str(certificate), str(other_key)), f"{certificate} and {other_key}: {wrong_content}"),
        ((str(key), str(key)), f"{key} and {key}: {wrong_content}"),
    ):
        assert rejection(TLSOptions(cert=cert)) == f"The client certificate {expected}"
