"""TLS options of a client, and a check of their files at the start."""

import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from vmapi.errors import SettingsError

CA_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables with CA certificates that the library requests respects."""

HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""A certificate in a directory that OpenSSL can search (`openssl rehash`)."""


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """How a client verifies a server, and its own certificate, in the form of requests."""

    verify: bool | str = True
    """True for the CAs of the system, a file or directory of CAs, or False for no verification."""

    cert: str | tuple[str, str] | None = None
    """A file with certificate and key, or a file of each."""


SYSTEM_TLS = TLSOptions()
"""The CA certificates of the system, and no client certificate."""


def check_tls_files(options: TLSOptions) -> None:
    """Raise SettingsError, with the name of the file, for a file that cannot be used."""
    verify = options.verify
    if verify is True:
        verify = next(filter(None, map(os.environ.get, CA_BUNDLE_VARIABLES)), True)
    if isinstance(verify, str):
        _check_ca_certificates(verify)
    if options.cert:
        _check_client_certificate(options.cert)


def _check_ca_certificates(path: str) -> None:
    try:
        if Path(path).is_dir():
            if not any(HASHED_NAME.fullmatch(file.name) for file in Path(path).iterdir()):
                raise SettingsError(
                    f"The CA certificates {path}: a directory without hashed names; "
                    "name a file, or run: openssl rehash DIRECTORY"
                )
            return
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        reason = _reason(error, "contains no certificate in PEM")
        raise SettingsError(f"The CA certificates {path}: {reason}") from None


def _check_client_certificate(cert: str | tuple[str, str]) -> None:
    files = (cert,) if isinstance(cert, str) else cert
    try:
        for file in files:
            with Path(file).open("rb"):
                pass
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # a key with a passphrase would ask for it at a terminal
        context.load_cert_chain(files[0], files[-1], password="")  # nosec B106
    except (OSError, ValueError) as error:
        name = getattr(error, "filename", None) or " and ".join(files)
        reason = _reason(error, "no certificate in PEM with its key, without a passphrase")
        raise SettingsError(f"The client certificate {name}: {reason}") from None


def _reason(error: Exception, wrong_content: str) -> str:
    if isinstance(error, ssl.SSLError):
        return wrong_content
    return f"cannot be read ({getattr(error, 'strerror', None) or error})"
