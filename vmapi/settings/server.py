"""Settings of the HTTP server: address, processes, threads, proxies, browsers, log."""

from dataclasses import dataclass

from vmapi.settings.declaration import ValueFormat, setting
from vmapi.settings.parsing import integer, matching, one_of
from vmapi.settings.patterns import BIND_ADDRESS, HOST_AND_PORT, ORIGIN_PATTERN

GRAPHQL_OFF = "off"
GRAPHQL_INTROSPECTION = "introspection"
GRAPHQL_PAGE = "graphiql"
GRAPHQL_MODES = (GRAPHQL_OFF, "endpoint", GRAPHQL_INTROSPECTION, GRAPHQL_PAGE)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_ORIGINS = matching(
    rf"{ORIGIN_PATTERN}(, ?{ORIGIN_PATTERN})*",
    "ORIGIN,… as browsers write them: https://console.example.org",
)


def _parse_origins(text: str) -> tuple[str, ...]:
    return tuple(origin.strip() for origin in _ORIGINS.parse(text).split(","))


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The HTTP server, its address and its log."""

    bind: str = setting(
        "VMAPI_BIND",
        matching(BIND_ADDRESS, "HOST:PORT or unix:/PATH"),
        "127.0.0.1:8000",
        "The address where gunicorn listens.",
    )
    workers: int | None = setting(
        "VMAPI_WORKERS",
        integer(1, 64),
        "",
        "Number of processes. Unset: `WEB_CONCURRENCY`, else 2, for the memory cloud 1. "
        "`-w` of gunicorn takes precedence.",
        example="2",
    )
    threads: int = setting(
        "VMAPI_THREADS",
        integer(2, 256),
        "8",
        "Number of requests in each process that may wait for the cloud, and for the database, at "
        "the same time. Requests that wait for neither have other threads.",
    )
    api_version: str = setting(
        "API_VERSION",
        matching(r"v[1-9][0-9]{0,2}", "v1, v2, …"),
        "v1",
        "The last part of the base path `/api/v1`.",
    )
    log_level: str = setting(
        "LOG_LEVEL", one_of(LOG_LEVELS, ", ".join(LOG_LEVELS)), "INFO", "The lowest level logged."
    )
    proxies: int = setting(
        "VMAPI_PROXIES",
        integer(0, 8),
        "0",
        "Number of proxies in front that set or append to `X-Forwarded-For`: 1 behind "
        "`config/nginx.conf`. Rate limits and the audit trail then use the address of the client.",
    )
    metrics_bind: str | None = setting(
        "VMAPI_METRICS_BIND",
        matching(HOST_AND_PORT, "HOST:PORT"),
        "",
        "The address where gunicorn serves `/metrics` for Prometheus, of all its processes. Choose "
        "one that clients cannot reach: it needs no token. Unset: no metrics.",
        example="127.0.0.1:9464",
    )
    worker_metrics_bind: str | None = setting(
        "VMAPI_WORKER_METRICS_BIND",
        matching(HOST_AND_PORT, "HOST:PORT"),
        "",
        "The address where `vmapi worker` serves `/metrics`. Each worker of a machine "
        "needs a separate port. Unset: no metrics.",
        example="127.0.0.1:9465",
    )
    cors_origins: tuple[str, ...] = setting(
        "VMAPI_CORS_ORIGINS",
        ValueFormat(_ORIGINS.allowed, _parse_origins, ",".join),
        "",
        "Origins of web pages with scripts that may use the API from a browser. Unset: none.",
        unset=(),
        example="https://console.example.org",
    )
    graphql: str = setting(
        "VMAPI_GRAPHQL",
        one_of(GRAPHQL_MODES, ", ".join(GRAPHQL_MODES)),
        GRAPHQL_PAGE,
        "What `/graphql` serves, if the extra `graphql` is installed: `off`, nothing; `endpoint`, "
        "queries and mutations; `introspection`, also the schema; "
        "`graphiql`, also a page for browsers at `/docs/graphiql`.",
    )
