"""Aims 1 to 3: reads, relative to ready bytes of bare Flask and to a FastAPI twin."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from bench.aims import Limit, Result, Row, Table
from bench.client import VMS, connect
from bench.load import Load, measure_in_turns, send_load
from bench.options import POSTGRESQL, SQLITE, RunOptions
from bench.rivals.servers import run_floor, run_twin
from bench.servers import Server, create_token, run_on_memory, run_on_openstack

MEMORY = "memory cloud"
OPENSTACK = {SQLITE: "OpenStack on SQLite", POSTGRESQL: "OpenStack on PostgreSQL"}
MAX_OF_FLOOR = {
    "one VM": {MEMORY: 1.2, OPENSTACK[SQLITE]: 1.2, OPENSTACK[POSTGRESQL]: 1.8},
    "list of 100": {MEMORY: 1.3, OPENSTACK[SQLITE]: 1.3, OPENSTACK[POSTGRESQL]: 2.2},
    "list of 1,000": {MEMORY: 1.6, OPENSTACK[SQLITE]: 1.6, OPENSTACK[POSTGRESQL]: 3.5},
}
"""The limits of the CPU time of a request, as multiples of the floor."""
MAX_WITH_TOKEN = 1.35
MAX_NOT_MODIFIED = 0.9
MAX_LIVENESS = 1.0
MIN_AHEAD_OF_TWIN = {"list of 100": 1.0, "list of 1,000": 2.3}
GRAPHQL_PAGE_SIZE = 100
GRAPHQL_DOCUMENT = f"""{{ vms(first: {GRAPHQL_PAGE_SIZE}) {{
  totalCount pageInfo {{ hasNextPage endCursor }}
  nodes {{
    id name flavor image status task allowedActions ipAddress
    addresses {{ network ip version type }}
    metadata keyName securityGroups locked fault {{ code message hint }} backendStatus createdAt
    updatedAt
  }}
}} }}"""
GRAPHQL_PATH = f"/graphql?{urlencode({'query': GRAPHQL_DOCUMENT})}"
MAX_OF_REST = 2.0
MIN_RATE = 1.5
"""Requests in a second relative to the floor: 2,500 where the floor makes 1,671."""


@dataclass(frozen=True)
class Cloud:
    """A server of vmapi, with a VM and a token to read it."""

    server: Server
    vm_id: str
    token: str

    def send(self, path: str, seconds: float, **headers: str) -> Load:
        """Send a load to one path."""
        return send_load(self.server, path, seconds, headers=headers)

    @property
    def vm_path(self) -> str:
        """The path of the VM."""
        return f"{VMS}/{self.vm_id}"


def measure_reads(options: RunOptions) -> Iterator[Result]:
    """Measure one VM, lists, and the variants of a read."""
    with ExitStack() as stack:
        clouds = start_clouds(stack, options)
        bodies = fetch_bodies(clouds[MEMORY], options.scale.list_sizes)
        floor = stack.enter_context(run_floor(options, bodies))
        twin = stack.enter_context(run_twin(options, bodies))
        seconds, rounds = options.scale.seconds, options.scale.rounds
        rivals = {
            "floor": partial(send_load, floor, "/one", seconds),
            "twin": partial(send_load, twin, f"/vms/{clouds[MEMORY].vm_id}", seconds),
        }
        loads = measure_in_turns(rivals | build_vm_reads(clouds, seconds), rounds)
        yield from compare_vm_reads(loads, clouds)
        tables = [("one VM", loads)]
        for size in options.scale.list_sizes:
            sends = {
                "floor": partial(send_load, floor, f"/{size}", seconds),
                "twin": partial(send_load, twin, f"/vms?page_size={size}", seconds),
            }
            path = f"{VMS}?page_size={size}"
            sends |= {name: partial(cloud.send, path, seconds) for name, cloud in clouds.items()}
            if size == GRAPHQL_PAGE_SIZE:
                sends["GraphQL"] = partial(clouds[MEMORY].send, GRAPHQL_PATH, seconds)
            loads = measure_in_turns(sends, rounds)
            if "GraphQL" in loads:
                yield compare_graphql(loads["GraphQL"], loads[MEMORY])
            yield from compare_lists(f"list of {size:,}", loads, clouds)
            tables.append((f"list of {size:,}", loads))
        yield build_table(tables)


def start_clouds(stack: ExitStack, options: RunOptions) -> dict[str, Cloud]:
    """Start a server for each cloud and database; any of them accepts tokens."""
    vms, auth = options.scale.vms, {"VMAPI_AUTH": "none,token"}
    servers = {MEMORY: stack.enter_context(run_on_memory(options, vms, SQLITE, auth))}
    for database in options.databases:
        server = run_on_openstack(
            options, "--delays", "none", "--varied", vms=vms, database=database, settings=auth
        )
        servers[OPENSTACK[database]] = stack.enter_context(server)
    return {name: prepare(server) for name, server in servers.items()}


def prepare(server: Server) -> Cloud:
    """Create a token, and choose a VM."""
    with connect(server.url) as client:
        (item,) = client.call("GET", f"{VMS}?page_size=1")["items"]
    return Cloud(server, item["id"], create_token(server))


def fetch_bodies(cloud: Cloud, sizes: tuple[int, ...]) -> dict[str, bytes]:
    """Return the bodies that the rivals serve."""
    with connect(cloud.server.url) as client:
        lists = {str(size): client.get_bytes(f"{VMS}?page_size={size}") for size in sizes}
        return {"one": client.get_bytes(cloud.vm_path), **lists}


def build_vm_reads(clouds: Mapping[str, Cloud], seconds: float) -> dict[str, Callable[[], Load]]:
    """Return the reads of one VM: alone, with a token, with the entity tag; and /livez."""
    sends: dict[str, Callable[[], Load]] = {}
    for name, cloud in clouds.items():
        with connect(cloud.server.url) as client:
            _, etag = client.get_status(cloud.vm_path)
            tag, bearer = {"If-None-Match": etag}, {"Authorization": f"Bearer {cloud.token}"}
            if client.get_status(cloud.vm_path, **tag)[0] != 304:
                raise RuntimeError(f"no 304 for {etag}")
        sends[name] = partial(cloud.send, cloud.vm_path, seconds)
        sends[f"{name}, token"] = partial(cloud.send, cloud.vm_path, seconds, **bearer)
        sends[f"{name}, 304"] = partial(cloud.send, cloud.vm_path, seconds, **tag)
        sends[f"{name}, /livez"] = partial(cloud.send, "/livez", seconds)
    return sends


def compare_vm_reads(loads: Mapping[str, Load], clouds: Mapping[str, Cloud]) -> Iterator[Row]:
    """Compare the reads of one VM."""
    floor = loads["floor"]
    for name in clouds:
        aim = "3" if name == OPENSTACK[POSTGRESQL] else "1"
        yield compare(aim, f"one VM, {name}", loads[name], floor, MAX_OF_FLOOR["one VM"][name])
        token, not_modified = loads[f"{name}, token"], loads[f"{name}, 304"]
        if aim == "1":
            yield compare(aim, f"one VM with an API token, {name}", token, floor, MAX_WITH_TOKEN)
            rate = loads[name].rate / floor.rate
            subject = f"one VM, {name}: requests a second, relative to the floor"
            yield Row("1, stretch", subject, rate, "×", Limit.at_least(MIN_RATE), f"{loads[name]}")
        subject = f"304 of one VM, {name}: CPU time, relative to its 200"
        ratio = not_modified.cpu_us / loads[name].cpu_us
        yield Row("1", subject, ratio, "×", Limit.at_most(MAX_NOT_MODIFIED), f"{not_modified}")
    livez = loads[f"{OPENSTACK[SQLITE]}, /livez"]
    yield compare("1", "/livez", livez, floor, MAX_LIVENESS)


def compare_lists(
    title: str, loads: Mapping[str, Load], clouds: Mapping[str, Cloud]
) -> Iterator[Row]:
    """Compare the lists of one size."""
    for name in clouds:
        aim = "3" if name == OPENSTACK[POSTGRESQL] else "2"
        bound = MAX_OF_FLOOR[title][name]
        yield compare(aim, f"{title}, {name}", loads[name], loads["floor"], bound)
        if aim == "2":
            ahead, bound = loads["twin"].cpu_us / loads[name].cpu_us, MIN_AHEAD_OF_TWIN[title]
            subject = f"{title}, {name}: CPU time of the twin, relative to that of vmapi"
            aim = "2, stretch" if bound == 1 else "2"
            yield Row(aim, subject, ahead, "×", Limit.at_least(bound), f"{loads['twin']}")


def compare_graphql(graphql: Load, rest: Load) -> Row:
    """Compare a page with all fields of its VMs, in GraphQL and in the REST API."""
    subject = f"list of {GRAPHQL_PAGE_SIZE}, GraphQL: CPU time, relative to the REST API"
    ratio = graphql.cpu_us / rest.cpu_us
    return Row("2", subject, ratio, "×", Limit.at_most(MAX_OF_REST), f"{graphql}; REST {rest}")


def compare(aim: str, title: str, load: Load, floor: Load, bound: float) -> Row:
    """Return the CPU time of a request as a multiple of the floor."""
    subject = f"{title}: CPU time, relative to the floor"
    ratio = load.cpu_us / floor.cpu_us
    return Row(aim, subject, ratio, "×", Limit.at_most(bound), f"{load}; floor {floor}")


def build_table(tables: list[tuple[str, dict[str, Load]]]) -> Table:
    """Return all loads as a table."""
    lines = tuple(
        (
            title,
            name,
            f"{load.cpu_us:,.0f}",
            f"{load.rate:,.0f}",
            f"{load.cpu_us / loads['floor'].cpu_us:.2f} ×",
            f"{load.median_ms:.2f}",
            f"{load.p99_ms:.2f}",
        )
        for title, loads in tables
        for name, load in loads.items()
    )
    columns = ("read", "server", "CPU µs", "requests/s", "of the floor", "p50 ms", "p99 ms")
    return Table("Reads", columns, lines)
