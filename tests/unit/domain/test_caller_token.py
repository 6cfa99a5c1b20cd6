"""A caller's own token: where it goes, and that it is seen nowhere."""

import pickle
from dataclasses import replace

import pytest

from vmapi.domain.caller import Caller
from vmapi.domain.identity import CallerToken, Identity
from vmapi.domain.roles import Role

TOKEN = "gAAAAABalice"
ALICE = CallerToken(TOKEN, "p1")
IDENTITY = Identity("keystone:alice", Role.OPERATOR, "p1", ALICE)
CALLER = Caller("keystone:alice", "r", "p1", caller_token=ALICE)


@pytest.mark.parametrize("holder", [ALICE, IDENTITY, CALLER, [ALICE], {"a": CALLER}], ids=type)
def test_it_is_not_shown(holder: object) -> None:
    for shown in (repr(holder), str(holder), f"{holder}", f"{holder!r:>80}"):
        assert TOKEN not in shown


@pytest.mark.parametrize("holder", [ALICE, IDENTITY, CALLER], ids=type)
def test_it_is_not_kept(holder: object) -> None:
    with pytest.raises(TypeError, match="a credential is not to be kept"):
        pickle.dumps(holder)


def test_who_somebody_is_does_not_depend_on_it() -> None:
    assert replace(IDENTITY, caller_token=None) == IDENTITY
    assert replace(CALLER, caller_token=None) == CALLER
    assert hash(replace(CALLER, caller_token=None)) == hash(CALLER)
