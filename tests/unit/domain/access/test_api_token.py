"""API token tests: the format and its checksum."""

import re
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmapi.domain.access import api_token
from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.roles import Role

NOW = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_generated_tokens_are_well_formed_and_unique() -> None:
    tokens = [api_token.generate_token() for _ in range(50)]
    assert len(set(tokens)) == 50
    for token in tokens:
        assert re.fullmatch(r"vmapi_[0-9A-Za-z]{42}", token)
        assert api_token.is_well_formed(token)


def test_token_format_is_stable() -> None:
    token = "vmapi_" + "0" * 36
    assert api_token.is_well_formed(f"{token}pu3gG4")
    known = (
        "2c37d85c662a2691b050a269eefd79a9"  # pragma: allowlist secret - the hash of no token
        "19686996050340a1d9833ab85049df68"  # pragma: allowlist secret
    )
    assert api_token.hash_token("vmapi_") == known


LETTERS = st.sampled_from(string.ascii_letters + string.digits)


@given(st.integers(0, 41), LETTERS)
def test_checksum_detects_one_wrong_letter(place: int, letter: str) -> None:
    token = "vmapi_" + "0" * 36 + "pu3gG4"
    at = place + len("vmapi_")
    wrong = token[:at] + letter + token[at + 1 :]
    assert api_token.is_well_formed(wrong) == (wrong == token)


@given(st.text())
def test_other_texts_are_not_well_formed(text: str) -> None:
    assert not api_token.is_well_formed(text)
    assert not api_token.is_well_formed(f"vmapi_{text}")


@given(st.text(), st.text(alphabet=" /?:\n"))
def test_tokens_are_hidden_in_a_text(text: str, end: str) -> None:
    token = api_token.generate_token()
    assert token not in api_token.hide_tokens(f"{text}{token}{end}")
    assert api_token.hide_tokens(f"/{token}/{token}/vmapi_1") == "/vmapi_***/vmapi_***/vmapi_1"


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + HOUR}, "active"),
        ({"expires_at": NOW}, "expired"),
        ({"revoked_at": NOW + HOUR}, "active"),
        ({"revoked_at": NOW}, "revoked"),
        ({"revoked_at": NOW - HOUR, "expires_at": NOW - HOUR}, "revoked"),
    ],
)
def test_state_of_active_revoked_and_expired_tokens(ends: dict[str, datetime], state: str) -> None:
    token = ApiToken("1", "d", "ci", Role.VIEWER, "web", NOW - HOUR, **ends)
    assert token.state(NOW) == state
