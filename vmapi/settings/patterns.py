"""How the addresses in settings are written, as regular expressions."""

from ipaddress import ip_address

# strict enough that no library finds a piece of a password where it looks for something else
POSTGRESQL_URL = (
    r"postgresql\+psycopg://([^:/@]*(:[^@]*)?@)?(\[[^]@]+\]|[^:/?@]*)(:\d{1,5})?"
    r"(/[^?@]*)?(\?.*)?"
)
BROKER_URL = r"amqps?://([^/?#\[\]]*@)?(\[[^]@]+\]|[^:/?#@]+)(:\d{1,5})?(/[^@]*)?"
REDIS_URL = r"(memory|rediss?://([^/?#\[\]@]*@)?(\[[^]@]+\]|[^:/?#@]+)(:\d{1,5})?(/\d{1,4})?)"
# a browser writes neither a path nor the scheme's own port
ORIGIN_PATTERN = (
    r"(?!https://[^,]*:443(,|\Z))(?!http://[^,]*:80(,|\Z))"
    r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?"
)
BIND_ADDRESS = r"(unix:/.+|(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5})"


def is_loopback(bind: str) -> bool:
    """Tell whether only this machine reaches what listens at HOST:PORT or unix:/PATH."""
    host = bind.rpartition(":")[0].strip("[]")
    if bind.startswith("unix:") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
