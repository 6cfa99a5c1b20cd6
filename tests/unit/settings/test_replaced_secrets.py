"""Secrets in files that are replaced while the process runs."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from vmapi.settings import settings as settings_module
from vmapi.settings.secret_files import UNUSABLE_SECRET_LOG_INTERVAL, UnusableSecretLog
from vmapi.settings.settings import Settings

OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the key of the audit trail. No line about it was logged before."""
    monkeypatch.setattr(settings_module, "UNUSABLE_SECRETS", UnusableSecretLog(lambda: 0.0))
    path = tmp_path / "key"
    path.write_text(OLD)
    monkeypatch.setenv("VMAPI_AUDIT_KEY_FILE", str(path))
    return path


def test_replaced_file_is_read(key_file: Path) -> None:
    settings = Settings(audit_key=OLD)
    assert settings.reread("audit_key") == OLD
    key_file.write_text(f"{NEW}\n")
    assert settings.reread("audit_key") == NEW
    assert settings.audit_key == OLD


def test_value_without_a_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMAPI_AUDIT_KEY", NEW)
    assert Settings(audit_key=OLD).reread("audit_key") == OLD


@pytest.mark.parametrize("content", ["", "too short", None])
def test_unusable_file_leaves_the_value_of_the_start(key_file: Path, content: str | None) -> None:
    settings = Settings(audit_key=OLD)
    if content is None:
        key_file.unlink()
    else:
        key_file.write_text(content)
    with capture_logs() as logs:
        assert settings.reread("audit_key") == OLD
        assert settings.reread("audit_key") == OLD
    (line,) = logs
    assert (line["log_level"], line["event"]) == ("warning", "secret file not usable")
    assert line["reason"].startswith("VMAPI_AUDIT_KEY_FILE")
    assert not content or content not in line["reason"]


def test_keys_of_the_audit_trail_begin_with_the_present_one(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_keys = tmp_path / "old-keys"
    old_keys.write_text(f"{OLD}\n\n{'x' * 32}\n")
    monkeypatch.setenv("VMAPI_AUDIT_OLD_KEYS_FILE", str(old_keys))
    key_file.write_text(NEW)
    assert Settings().read_audit_keys() == (NEW, OLD, "x" * 32)


def test_unusable_file_is_logged_once_a_minute() -> None:
    now = 1000.0
    unusable_secrets = UnusableSecretLog(lambda: now)
    with capture_logs() as logs:
        for _ in range(61):
            unusable_secrets.record("VMAPI_AUDIT_KEY", "empty")
            unusable_secrets.record("VMAPI_AUDIT_OLD_KEYS", "empty")
            now += 1
    assert len(logs) == 4
    assert now - 1000.0 > UNUSABLE_SECRET_LOG_INTERVAL
