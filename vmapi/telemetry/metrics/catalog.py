"""All metrics of vmapi: name, unit, labels and help of each, in one place.

Names and units follow the conventions of Prometheus
(https://prometheus.io/docs/practices/naming/). Labels have few values: no ids, no raw paths.
`docs/reference/metrics.md` is generated from these declarations.
"""

from vmapi.telemetry.metrics.metric import (
    OPERATION_BUCKETS,
    RESPONSE_BUCKETS,
    Counter,
    Gauge,
    Histogram,
    Metric,
)

HTTP_REQUEST_SECONDS = Histogram(
    "vmapi_http_request_duration_seconds",
    "Time from the first hook of a request to its response. `route` is the template of the URL, "
    "or `unknown`.",
    *("method", "route", "status"),
    buckets=RESPONSE_BUCKETS,
)
PROBLEMS = Counter(
    "vmapi_problems_total",
    "Responses with a problem document, by its code.",
    "code",
    initial=("internal_error", "store_unavailable"),
)
RATE_LIMITED_REQUESTS = Counter(
    "vmapi_rate_limited_requests_total",
    "Requests that a rate limit has refused: `address`, `reads` or `changes`.",
    "limit",
    initial=("address", "reads", "changes"),
)
MALFORMED_REQUESTS = Counter(
    "vmapi_malformed_requests_total",
    "Requests that gunicorn could not read, by its class of the error. No other metric has them.",
    "reason",
)
TOKEN_CACHE_LOOKUPS = Counter(
    "vmapi_token_cache_lookups_total",
    "Tokens that were looked up: `hit`, `unknown` (cached as not valid) or `miss` (validated).",
    "result",
)
EVENT_STREAMS = Gauge("vmapi_event_streams", "Open event streams.")
REFUSED_EVENT_STREAMS = Counter(
    "vmapi_event_streams_refused_total",
    "Event streams that were refused: the `caller` or the `process` has too many.",
    "limit",
    initial=("caller", "process"),
)
BULKHEAD_REFUSALS = Counter(
    "vmapi_bulkhead_refusals_total",
    "Requests that were refused because too many others wait for the same dependency: `cloud`, "
    "`database`, `keystone` or `issuer`.",
    "dependency",
    initial=("cloud", "database", "keystone", "issuer"),
)
OPERATION_SECONDS = Histogram(
    "vmapi_operation_duration_seconds",
    "Time from the admission of an operation to its end. "
    "The outcome is `succeeded`, `failed` or `superseded`.",
    *("action", "outcome"),
    buckets=OPERATION_BUCKETS,
)
FAILED_OPERATIONS = Counter(
    "vmapi_operations_failed_total",
    "Operations that have failed, by the code of the problem.",
    *("action", "code"),
)
ABANDONED_OPERATIONS = Counter(
    "vmapi_operations_abandoned_total",
    "Operations that have failed because each attempt ended with an unexpected error.",
    "action",
    initial=("create", "start", "stop", "restart", "pause", "resume", "update", "delete"),
)
UNFINISHED_OPERATIONS = Gauge(
    "vmapi_operations_unfinished",
    "Operations that are not finished, of all processes.",
    *("action", "status"),
    of_database=True,
)
OLDEST_OPERATION_SECONDS = Gauge(
    "vmapi_operations_oldest_unfinished_age_seconds",
    "Age of the oldest unfinished operation of an action; 0 without one.",
    "action",
    of_database=True,
)
OPERATION_LEASES = Gauge(
    "vmapi_operation_leases",
    "Unfinished operations by their lease: `held` by a process, or `free` for any engine.",
    "state",
    of_database=True,
)
OPENSTACK_SECONDS = Histogram(
    "vmapi_openstack_request_duration_seconds",
    "Time of one HTTP request to OpenStack. `call` is the method and the template of the path, "
    "with the name of a server action. `status` is the HTTP status, or `none` without a response.",
    *("service", "call", "status"),
    buckets=RESPONSE_BUCKETS,
)
CIRCUIT_BREAKER_OPEN = Gauge(
    "vmapi_circuit_breaker_open",
    "1 while a process sends no calls to a dependency that does not respond: `cloud`, `keystone` "
    "(tokens of callers) or `redis` (rate limits).",
    "dependency",
    mode="livemax",
)
INVENTORY_VMS = Gauge(
    "vmapi_inventory_vms",
    "VMs in the inventory. `DELETED` are those of the last 24 hours.",
    "status",
    of_database=True,
)
INVENTORY_SYNC_AGE_SECONDS = Gauge(
    "vmapi_inventory_sync_age_seconds",
    "Time since the start of the last completed sync: `full`, or `changes` for any of the two. "
    "Missing for the in-memory cloud, and before the first sync.",
    "kind",
    of_database=True,
)
INVENTORY_SYNC_SECONDS = Histogram(
    "vmapi_inventory_sync_duration_seconds",
    "Time of one sync with the cloud: `full`, or `changes`. The outcome is `success` or `failure`.",
    *("kind", "outcome"),
    buckets=OPERATION_BUCKETS,
)
ENGINE_LEASED_OPERATIONS = Gauge(
    "vmapi_engine_leased_operations",
    "Unfinished operations that the engines of this server lease.",
)
ENGINE_RUNNING_OPERATIONS = Gauge(
    "vmapi_engine_running_operations",
    "Operations that the engines of this server are reconciling now.",
)
ENGINE_SCAN_TIME_SECONDS = Gauge(
    "vmapi_engine_last_scan_timestamp_seconds",
    "Unix time of the last scan for due operations that succeeded, of the slowest engine.",
    mode="livemin",
)
ENGINE_ERRORS = Counter(
    "vmapi_engine_errors_total",
    "Unexpected errors of the engine, which the log explains: in `reconcile`, in `scan`, or in a "
    "periodic task.",
    "task",
    initial=("reconcile", "scan", "incremental-sync", "full-sync", "maintenance"),
)
CELERY_NOTIFICATIONS = Counter(
    "vmapi_celery_notifications_total",
    "Messages to Celery workers: `sent`, `failed` (no broker) or `dropped` (queue full). Workers "
    "find the operations of a lost one by polling.",
    "outcome",
)
CELERY_QUEUED_NOTIFICATIONS = Gauge(
    "vmapi_celery_queued_notifications", "Messages to Celery workers that wait for the broker."
)
LEADER = Gauge(
    "vmapi_leader",
    "1 after this server has acquired or renewed a leader lease, 0 after it could not.",
    "lease",
    mode="livemax",
)
LEADER_LEASES = Gauge(
    "vmapi_leader_leases",
    "1 while a process holds a leader lease: `sync` always, the others during their periodic task.",
    "lease",
    of_database=True,
)
DATABASE_UP = Gauge(
    "vmapi_database_up", "1 if the database has answered this scrape.", of_database=True
)
DATABASE_TRANSACTION_SECONDS = Histogram(
    "vmapi_database_transaction_duration_seconds",
    "Time of one transaction, with the wait for a connection: `read`, `write` or `snapshot`. The "
    "outcome is `done`, or `failed` for every error in it, conflicts too.",
    *("kind", "outcome"),
    buckets=RESPONSE_BUCKETS,
)
DATABASE_CONNECTIONS = Gauge(
    "vmapi_database_pool_connections",
    "Connections of the pool that are `used` by a thread, or `idle`.",
    "state",
)
DATABASE_POOL_SIZE = Gauge(
    "vmapi_database_pool_size_connections", "Connections that the pool may have at most."
)
PROCESSES = Gauge("vmapi_processes", "Processes of this server that serve or reconcile.")
RESIDENT_BYTES = Gauge(
    "vmapi_process_resident_memory_bytes", "Memory of the processes of this server."
)
OPEN_FILES = Gauge(
    "vmapi_process_open_fds",
    "Open file descriptors of the process that has most of them.",
    mode="livemax",
)
MAX_OPEN_FILES = Gauge(
    "vmapi_process_max_fds",
    "Limit of file descriptors of a process.",
    mode="livemin",
)
THREADS = Gauge("vmapi_process_threads", "Threads of the processes of this server.")
BUILD_INFO = Gauge(
    "vmapi_build_info",
    "Always 1. The labels describe the process.",
    *("version", "python", "backend", "engine", "role"),
    of_database=True,
)

METRICS: tuple[Metric, ...] = tuple(
    value for value in globals().values() if isinstance(value, Metric)
)
"""All metrics, in the order of the page."""
