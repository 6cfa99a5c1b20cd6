"""Random MIME archives with SSH keys: cloud-init finds the keys, or the request is refused."""

from email import message_from_string

from hypothesis import given
from hypothesis import strategies as st

from vmapi.domain.cloud_init import build_user_data
from vmapi.errors import ValidationFailed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@\U0001f511"
FRAGMENTS = (
    *("MIME-Version: 1.0\n", "mime-version:", "Content-Type: multipart/mixed; boundary=b\n"),
    *("Content-Type: multipart/mixed; boundary=", "Content-Type: message/rfc822\n", "\n", "\r\n"),
    *("Content-Type: text/x-shellscript\n", "Content-Type: message/delivery-status\n", " ", ":"),
    *("Content-Transfer-Encoding: base64\n", "boundary*=utf-8''%E9", "--b\n", "--b--\n", "--b"),
    *("Content-Type: multipart/digest; boundary=b\n", "From x\n", "#!/bin/sh\n", "é", "=", "\t"),
    *("Content-Type: text/plain; charset=nope\n", "--vmapi-0\n", "--vmapi-0--\n", "\x1c", ";"),
)
ARCHIVES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=40).map("".join)


@given(st.sampled_from(("MIME-Version: 1.0\n", "")), ARCHIVES)
def test_keys_are_found_in_every_accepted_archive(start: str, rest: str) -> None:
    user_data = (start + rest).encode(errors="replace").decode()
    try:
        composed = build_user_data(user_data, [KEY])
    except ValidationFailed:
        return
    assert composed is not None
    *_, last = message_from_string(composed.decode()).walk()
    payload = last.get_payload(decode=True) if user_data else composed
    assert isinstance(payload, bytes)
    assert KEY in payload.decode()
