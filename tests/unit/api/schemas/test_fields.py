"""Accepted and refused values of the fields."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from marshmallow import ValidationError

from vmapi.api.schemas.fields import (
    MetadataField,
    NulFreeString,
    QueryInteger,
    RFC3339Field,
    StrictBoolean,
)
from vmapi.api.schemas.vms import CreateVMSchema, UpdateVMSchema
from vmapi.domain.vm import CreateRequest, VMPatch

NOT_TEXTS: list[Any] = [1, 1.5, True, [], {}, ["a"], None]
RSA = "ssh-rsa " + "A" * 372
CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


def refused(schema: Any, body: dict[str, Any]) -> Any:
    with pytest.raises(ValidationError) as caught:
        schema.load(body)
    return caught.value.messages


@pytest.mark.parametrize("value", ["", "a", "é", "a\nb", "\u2028", "x" * 1_000_000])
def test_string_is_accepted(value: str) -> None:
    assert NulFreeString().deserialize(value) == value


@pytest.mark.parametrize("value", [*NOT_TEXTS, "a\0b", "\0"])
def test_non_string_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        NulFreeString().deserialize(value)


@pytest.mark.parametrize("value", [True, False])
def test_boolean_is_accepted(value: bool) -> None:
    assert StrictBoolean().deserialize(value) is value


@pytest.mark.parametrize("value", [0, 1, "true", "false", "yes", "", 1.0, [], {}, None])
def test_non_boolean_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        StrictBoolean().deserialize(value)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("9" * 18, 10**18 - 1)]
)
def test_query_integer_is_accepted(text: str, number: int) -> None:
    assert QueryInteger().deserialize(text) == number


@pytest.mark.parametrize(
    "value",
    ["", " 1", "1 ", "+1", "-1", "1.0", "1e3", "1_0", "0x1", "٣", "１", "nan", "9" * 19, "1\n", 1],
)
def test_non_integer_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        QueryInteger().deserialize(value)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-02-25T10:30:00Z", datetime(2026, 2, 25, 10, 30, tzinfo=UTC)),
        ("2026-02-25t10:30:00z", datetime(2026, 2, 25, 10, 30, tzinfo=UTC)),
        ("2026-02-25T10:30:00.5Z", datetime(2026, 2, 25, 10, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-02-25T10:30:00.123456789Z", datetime(2026, 2, 25, 10, 30, 0, 123_456, tzinfo=UTC)),
        (
            "2026-02-25T10:30:00+05:30",
            datetime(2026, 2, 25, 10, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        ),
        # an unescaped + in a query
        ("2026-02-25T10:30:00 01:00", datetime(2026, 2, 25, 9, 30, tzinfo=UTC)),
        ("2026-02-25T10:30:00-00:00", datetime(2026, 2, 25, 10, 30, tzinfo=UTC)),
    ],
)
def test_rfc3339_time_is_accepted(text: str, time: datetime) -> None:
    assert RFC3339Field().deserialize(text) == time


@pytest.mark.parametrize(
    "value",
    [
        *("", "now", "2026", "2026-02-25", "2026-02-25T10:30:00", "2026-02-25 10:30:00Z"),
        *("2026-02-25T10:30Z", "20260225T103000Z", "2026-02-30T10:30:00Z", "2026-W09-3T10:30:00Z"),
        *("2026-02-25T24:30:00Z", "2026-02-25T10:30:60Z", "2026-02-25T10:30:00.Z"),
        *("2026-02-25T10:30:00+0100", "2026-02-25T10:30:00+99:99", "2026-02-25T10:30:00,5Z"),
        *("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "٢٠٢٦-02-25T10:30:00Z"),
        *("2026-02-25T10:30:00Z\n", "1772015400", 1772015400, None, []),
    ],
)
def test_malformed_time_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        RFC3339Field().deserialize(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": ""},
        {"A b_c.d:e-f": "é\n"},
        {"k" * 255: "v" * 255},
        {str(n): "" for n in range(127)},
    ],
)
def test_metadata_is_accepted(value: dict[str, str]) -> None:
    assert MetadataField().deserialize(value) == value
    removals = dict.fromkeys(value)
    assert MetadataField(patch=True).deserialize(removals) == removals


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *((key, "", "The key must have 1 to 255") for key in ("", "k" * 256, "é", "a/b", "a\n")),
        *((key, "", "Keys that begin with vmapi. are reserved") for key in ("vmapi.", "vmapi.x")),
        *(("a", value, "Must be a string") for value in NOT_TEXTS),
        *(("a", value, "Must have at most 255 characters") for value in ("v" * 256, "a\0b")),
    ],
)
def test_invalid_metadata_pair_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MetadataField().deserialize({"good": "x", key: value})
    assert isinstance(caught.value.messages, dict)
    assert list(caught.value.messages) == [key]
    assert caught.value.messages[key][0].startswith(message)


@pytest.mark.parametrize("value", [[], "a", 1, True, [["a", "b"]]])
def test_metadata_that_is_not_an_object_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="Must be an object of strings"):
        MetadataField().deserialize(value)


@pytest.mark.parametrize("value", ["", None, 1])
@pytest.mark.parametrize("key", ["{}", "/{}", "vmapi.{}"])
@pytest.mark.parametrize("is_patch", [False, True])
def test_metadata_with_too_many_keys_are_refused_before_their_pairs(
    is_patch: bool, key: str, value: object
) -> None:
    for count in (128, 62_000):
        with pytest.raises(ValidationError) as caught:
            MetadataField(patch=is_patch).deserialize({key.format(n): value for n in range(count)})
        assert caught.value.messages == ["At most 127 keys are allowed."]


@pytest.mark.parametrize("name", ["abc", "A.b", "0_1", "a-.", "x" * 63])
def test_vm_name_is_accepted(name: str) -> None:
    assert CreateVMSchema().load({**CREATE_BODY, "name": name}).name == name
    assert UpdateVMSchema().load({"name": name}) == VMPatch(name=name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "x" * 64,
        "-abc",
        ".abc",
        "_abc",
        "a b",
        "abc\n",
        "äbc",
        "a/b",
        "a\0b",
        "１23",
        123,
        None,
    ],
)
def test_invalid_vm_name_is_refused(name: object) -> None:
    for schema, rest in ((CreateVMSchema(), CREATE_BODY), (UpdateVMSchema(), {})):
        assert list(refused(schema, {**rest, "name": name})) == ["name"]


@pytest.mark.parametrize(
    "key",
    [
        RSA,
        RSA + "= me@host",
        "ssh-ed25519 " + "A" * 68 + " a comment, with #/'\"",
        "ecdsa-sha2-nistp256 " + "A" * 140,
        "sk-ssh-ed25519@openssh.com " + "A" * 140 + "==",
        *(RSA + " jürgen@büro", RSA + " \U0001f511 \u00a0key", RSA + " " + "c" * 1000),
        RSA + " two  spaces and\ta tab",
    ],
)
def test_ssh_key_is_accepted(key: str) -> None:
    assert CreateVMSchema().load({**CREATE_BODY, "ssh_keys": [key]}).ssh_keys == (key,)


@pytest.mark.parametrize(
    "key",
    [
        *(RSA + " me\n", RSA + " me\r\n", "\n \t" + RSA + " me  ", RSA + " me\n\n"),
        *(RSA.replace(" ", "   ") + " me", RSA.replace(" ", "\t") + "\t \tme"),
    ],
)
def test_white_space_around_the_parts_of_an_ssh_key_does_not_count(key: str) -> None:
    loaded = CreateVMSchema().load({**CREATE_BODY, "ssh_keys": [key, RSA + " me"]})
    assert loaded.ssh_keys == (RSA + " me",)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            " \n",
            "ssh-rsa",
            "ssh-rsa AAAA",
            RSA + "\n" + RSA,
            RSA + " a\n" + RSA,
            "\u00a0" + RSA,
        ),
        *(
            RSA + f" a{end}b"
            for end in "\n\r\0\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\ufffe\uffff"
        ),
        *("ssh-dss " + "A" * 372, "ssh-rsa " + "A" * 8001, RSA + " " + "c" * 8000, RSA + "===="),
        *("ssh\n-rsa " + "A" * 372, RSA[:100] + "\n" + RSA[100:], RSA.replace(" ", "\n")),
        "-----BEGIN OPENSSH PRIVATE KEY-----",  # pragma: allowlist secret - there is no key
        *('command="rm" ' + RSA, "ssh-rsa " + "é" * 372, 1),
    ],
)
def test_invalid_ssh_key_is_refused(key: object) -> None:
    assert list(refused(CreateVMSchema(), {**CREATE_BODY, "ssh_keys": [RSA, key]})["ssh_keys"]) == [
        1
    ]


def test_repeated_values_count_once() -> None:
    body = {**CREATE_BODY, "ssh_keys": [RSA, RSA], "security_groups": ["b", "a", "b"]}
    loaded = CreateVMSchema().load(body)
    assert (loaded.ssh_keys, loaded.security_groups) == ((RSA,), ("b", "a"))


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("user_data", "x" * 65_536, "x" * 65_537),
        ("user_data", "é" * 32_768, "é" * 32_769),
        ("flavor", "x" * 255, "x" * 256),
        ("image", "x", ""),
        ("network", "é" * 255, "x" * 256),
        ("key_name", "x", ""),
        ("security_groups", ["x"] * 64, ["x"] * 65),
        ("ssh_keys", [RSA] * 64, [RSA] * 65),
        ("security_groups", [], "default"),
        ("start", True, None),
        ("network", "x", None),
        ("metadata", {}, None),
    ],
)
def test_length_limits_are_enforced(field: str, good: object, bad: object) -> None:
    CreateVMSchema().load({**CREATE_BODY, field: good})
    assert list(refused(CreateVMSchema(), {**CREATE_BODY, field: bad})) == [field]


def test_minimal_create_request() -> None:
    assert CreateVMSchema().load(CREATE_BODY) == CreateRequest("web-1", "m1.tiny", "cirros")
    assert UpdateVMSchema().load({}) == VMPatch()
    for field in CREATE_BODY:
        less = {name: value for name, value in CREATE_BODY.items() if name != field}
        assert list(refused(CreateVMSchema(), less)) == [field]
