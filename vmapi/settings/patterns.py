"""Regular expressions of the addresses that settings hold."""

from ipaddress import ip_address

PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[0-5]?\d{1,4})"
LOOPBACK_URL = rf"http://(localhost|127(\.\d{{1,3}}){{3}}|\[::1\])(:{PORT})?"
ISSUER_URL = rf"(https://[^/?#\s@]+|{LOOPBACK_URL})(/[^?#\s]*)?"
# A host name consists of labels (RFC 1123, section 2.1). Letters beyond ASCII are allowed (IDNA).
HOST_NAME_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
URL_HOST = rf"(\[[0-9a-fA-F:.]+\]|{HOST_NAME_LABEL}(\.{HOST_NAME_LABEL})*\.?)"
HTTP_URL = rf"(?i:https?)://([^/?#\s@]*@)?{URL_HOST}(:{PORT})?([/?#]\S*)?"
# The patterns of URLs with passwords are strict, so that no library takes a piece of a password for
# another part of the URL.
POSTGRESQL_URL = (
    rf"postgresql\+psycopg://([^:/@]*(:[^@]*)?@)?(\[[^]@]+\]|[^:/?@]*)(:{PORT})?"
    r"(/[^?@]*)?(\?.*)?"
)
BROKER_URL = rf"amqps?://([^/?#\[\]]*@)?(\[[^]@]+\]|[^:/?#@]+)(:{PORT})?(/[^@]*)?"
REDIS_URL = rf"(memory|rediss?://([^/?#\[\]@]*@)?(\[[^]@]+\]|[^:/?#@]+)(:{PORT})?(/\d{{1,4}})?)"
# A browser writes an origin without a path and without the default port of its scheme.
ORIGIN_PATTERN = (
    r"(?!https://[^,]*:443(,|\Z))(?!http://[^,]*:80(,|\Z))"
    rf"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:{PORT})?"
)
HOST_AND_PORT = rf"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):{PORT}"
BIND_ADDRESS = rf"(unix:/.+|{HOST_AND_PORT})"


def is_loopback(bind: str) -> bool:
    """Return whether only this machine can reach a socket bound to HOST:PORT or unix:/PATH."""
    host = bind.rpartition(":")[0].strip("[]")
    if bind.startswith("unix:") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
