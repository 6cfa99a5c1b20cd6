"""The token of a caller: never shown, never stored."""

import pickle
from dataclasses import replace

import pytest

from vmapi.domain.access.caller import Caller
from vmapi.domain.access.identity import CallerToken, Identity
from vmapi.domain.access.roles import Role

TOKEN = "gAAAAABalice"
ALICE = CallerToken(TOKEN, "p1")
IDENTITY = Identity("keystone:alice", Role.OPERATOR, "p1", ALICE)
CALLER = Caller("keystone:alice", "r", "p1", caller_token=ALICE)


@pytest.mark.parametrize("holder", [ALICE, IDENTITY, CALLER, [ALICE], {"a": CALLER}], ids=type)
def test_token_is_not_in_the_text_of_its_holder(holder: object) -> None:
    for text in (repr(holder), str(holder), f"{holder}", f"{holder!r:>80}"):
        assert TOKEN not in text


@pytest.mark.parametrize("holder", [ALICE, IDENTITY, CALLER], ids=type)
def test_holder_cannot_be_pickled(holder: object) -> None:
    with pytest.raises(TypeError, match="a caller token must not be stored"):
        pickle.dumps(holder)


def test_token_is_not_part_of_equality_and_hash() -> None:
    assert replace(IDENTITY, caller_token=None) == IDENTITY
    assert replace(CALLER, caller_token=None) == CALLER
    assert hash(replace(CALLER, caller_token=None)) == hash(CALLER)
