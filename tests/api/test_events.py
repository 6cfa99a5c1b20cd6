"""GET /events: what happens, as it happens, and from where somebody was told of last."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.api.stream import Stream
from tests.world import NOBODY, WANTED, World
from vmapi.errors import StoreUnavailable
from vmapi.models.event import EventQuery
from vmapi.services import tail
from vmapi.services.events import Events
from vmapi.settings import Settings

Listen = Callable[..., Stream]
LIFE = [
    *("vm.created", "vm.changed", "operation.succeeded"),
    *("vm.changed", "vm.changed", "vm.changed", "operation.succeeded"),
    *("vm.changed", "vm.deleted", "operation.succeeded"),
]
"""What is told of a VM that is made, paused and deleted, on a cloud that takes no time."""


@pytest.fixture
def listen(world: World) -> Iterator[Listen]:
    """Begin to listen; streams that are still open are closed afterwards."""
    begun: list[Stream] = []

    def begin(query: str = "", last: str | None = None) -> Stream:
        begun.append(Stream(world, query, last))
        return begun[-1]

    yield begin
    for stream in begun:
        stream.close()


def live(world: World, name: str = "web-1") -> str:
    """Let a VM live and die; return its id."""
    vm_id = world.running(name)
    assert world.do(vm_id, "pause").status_code == 200
    assert world.call("DELETE", f"/vms/{vm_id}").status_code == 204
    return vm_id


def newest(world: World) -> str:
    return str(world.services.store.events.number())


def everything(world: World) -> list[str]:
    world.services.store.events.number()
    return [str(event.number) for event in world.services.store.events.after(0)]


def test_a_life_is_told_from_its_beginning(world: World, listen: Listen, document: Any) -> None:
    live(world, "before")
    stream = listen()
    assert stream.beat() == newest(world)
    vm_id = live(world)
    events = stream.events(len(LIFE))
    assert [event["kind"] for event in events] == LIFE
    assert {event["vm_id"] for event in events} == {vm_id}
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    of_vm = [(event["vm"]["status"], event["vm"]["task"]) for event in events if event["vm"]]
    assert of_vm == [
        *(("BUILDING", "creating"), ("RUNNING", None)),
        *(("RUNNING", "pausing"), ("PAUSED", "pausing"), ("PAUSED", None)),
        *(("PAUSED", "deleting"), ("DELETED", None)),
    ]
    of_operation = [event["operation"] for event in events if event["operation"]]
    assert [(each["action"], each["status"]) for each in of_operation] == [
        *(("create", "succeeded"), ("pause", "succeeded"), ("delete", "succeeded"))
    ]
    schema = {"$ref": "#/components/schemas/Event", "components": document["components"]}
    for event in events:
        Draft202012Validator(schema).validate(event)


def test_what_is_told_is_what_is_shown(world: World, listen: Listen) -> None:
    stream = listen()
    stream.beat()
    made = world.post("/vms", {**WANTED, "start": True})
    _, changed, ended = stream.events(3)
    assert changed["vm"] == world.vm(made.json["id"])
    assert ended["operation"] == world.operation(made)


def test_the_answer_is_for_nobody_to_keep(listen: Listen) -> None:
    headers = listen().answer.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store", "no")


def test_an_operation_that_fails_says_why(world: World, listen: Listen) -> None:
    stream = listen("?kind=operation.failed")
    stream.beat()
    world.backend.set_faults("no_capacity=1")
    made = world.create()
    world.settle()
    event = stream.event()
    assert (event["vm_id"], event["vm"]) == (made["id"], None)
    assert event["operation"]["error"]["code"] == "no_capacity"


@pytest.mark.parametrize("by", ["header", "query", "both"])
def test_who_comes_back_misses_nothing(world: World, listen: Listen, by: str) -> None:
    first = listen()
    first.beat()
    live(world)
    seen = [event["id"] for event in first.events(3)]
    first.close()
    live(world, "web-2")
    query = "" if by == "header" else f"?last_event_id={seen[-1] if by == 'query' else 'x'}"
    second = listen(query, None if by == "query" else seen[-1])
    assert second.beat() == seen[-1]
    seen += [event["id"] for event in second.events(2 * len(LIFE) - 3)]
    live(world, "web-3")
    seen += [event["id"] for event in second.events(len(LIFE))]
    assert seen == everything(world)


def test_who_was_told_of_nothing_can_come_back_too(world: World, listen: Listen) -> None:
    live(world, "before")
    first = listen(f"?vm_id={NOBODY}")
    last = first.beat()
    first.close()
    live(world)
    second = listen("", last)
    assert second.beat() == last
    assert second.kinds(len(LIFE)) == LIFE


@pytest.mark.parametrize("last", ["nowhere", "-1", "0", "1", "999999999999999999", "9" * 30, "٣"])
def test_nowhere_is_the_oldest_that_is_kept(world: World, listen: Listen, last: str) -> None:
    live(world)
    stream = listen(f"?kind=vm.deleted&last_event_id={last}")
    assert stream.event() == {
        **dict.fromkeys(("id", "at", "vm_id", "vm", "operation")),
        "kind": "events.reset",
    }
    assert stream.kinds(1) == ["vm.deleted"]
    live(world, "web-2")
    assert stream.kinds(1) == ["vm.deleted"]


def test_an_empty_one_is_none(world: World, listen: Listen) -> None:
    live(world)
    assert listen("?last_event_id=", "").beat() == newest(world)


def test_only_what_is_asked_for(world: World, listen: Listen) -> None:
    one, other = world.running("web-1"), world.running("web-2")
    last = everything(world)[0]
    queries = [
        f"?vm_id={other.upper()}&vm_id={NOBODY}",
        "?kind=vm.deleted&kind=operation.succeeded",
        f"?vm_id={one}&kind=vm.deleted",
    ]
    streams = [listen(query, last) for query in queries]
    for stream in streams:
        stream.beat()
    for vm_id in (one, other):
        world.call("DELETE", f"/vms/{vm_id}")
    gone = ["vm.changed", "vm.deleted", "operation.succeeded"]
    assert streams[0].kinds(6) == ["vm.created", "vm.changed", "operation.succeeded", *gone]
    ended, deleted = "operation.succeeded", "vm.deleted"
    assert streams[1].kinds(6) == [ended, ended, deleted, ended, deleted, ended]
    assert streams[2].event()["vm_id"] == one


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?kind=vm.moved", "/kind/0"),
        ("?kind=events.reset", "/kind/0"),
        ("?vm_id=", "/vm_id/0"),
        ("?project=other", "/project"),
        ("?last_event_id=1&last_event_id=2", "/last_event_id"),
    ],
)
def test_what_cannot_be_asked_for(world: World, query: str, pointer: str) -> None:
    answer = world.call("GET", f"/events{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "validation_error")
    assert answer.json["errors"][0]["pointer"] == pointer


def test_other_projects_are_not_told_of(world: World) -> None:
    vm_id = live(world)
    services: Events = world.services.events
    other = EventQuery(project="other", vm_ids=frozenset({vm_id}))
    found, number = services.after(0, other, 0)
    assert (found, number) == ([], 0)
    listener = services.listen(other, "me", "0")
    told = listener.told(lambda: True)
    next(told)
    services.heartbeat = 0.0
    assert str(next(told).number) == newest(world)  # type: ignore[union-attr]
    told.close()  # type: ignore[attr-defined]
    listener.close()


def test_silence_is_broken_by_a_heartbeat(world: World, listen: Listen) -> None:
    world.services.events.heartbeat = 0.01
    stream = listen("?kind=operation.failed")
    first = stream.beat()
    live(world)
    # and it takes those along who asked for nothing of what happened
    while (last := stream.beat()) == first:
        pass
    assert last in everything(world)


def test_a_process_that_drains_ends_its_streams(world: World, listen: Listen) -> None:
    streams = [listen(), listen("", "0")]
    streams[0].beat()
    streams[1].event()
    world.services.draining.set()
    assert [list(stream.rest()) for stream in streams] == [[], []]


@pytest.mark.parametrize("kept", [1, 3])
def test_who_is_slow_reads_on(
    world: World, listen: Listen, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(tail, "KEPT", kept)
    slow, fast = listen(), listen()
    first = slow.beat()
    fast.beat()
    seen = []
    for name in ("web-1", "web-2", "web-3"):
        live(world, name)
        seen += [event["id"] for event in fast.events(len(LIFE))]
    assert [event["id"] for event in slow.events(3 * len(LIFE))] == seen
    assert (seen, first) == (everything(world), "0")


def test_a_store_that_goes_ends_the_stream(
    world: World, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(world)
    stream = listen("", everything(world)[0])
    stream.beat()

    def away(*_: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.services.store.events, "between", away)
    assert list(stream.rest()) == []


def test_a_store_that_is_away_is_told_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise StoreUnavailable("away")

    for name in ("number", "has"):
        with monkeypatch.context() as context:
            context.setattr(world.services.store.events, name, lambda *_: away())
            for _ in range(9):
                answer = world.call("GET", "/events", headers={"Last-Event-ID": "1"})
                assert (answer.status_code, answer.json["code"]) == (503, "store_unavailable")
    assert readers() == 0


def readers() -> int:
    return sum(thread.name == "events" for thread in threading.enumerate())


def test_one_reads_for_all_and_nobody_for_none(world: World, listen: Listen) -> None:
    assert readers() == 0
    streams = [listen() for _ in range(3)]
    assert readers() == 1
    for stream in streams:
        stream.close()
    assert readers() == 0
    listen().beat()
    assert readers() == 1


def test_a_head_holds_no_place(world: World) -> None:
    for _ in range(20):
        assert world.call("HEAD", "/events", buffered=True).status_code == 200
    assert readers() == 0


class TestPlaces:
    @pytest.fixture
    def settings(self, request: pytest.FixtureRequest) -> Settings:
        given = {"event_streams": 2, "caller_streams": 10, "threads": 8}
        return Settings(log_level="CRITICAL", **(given | getattr(request, "param", {})))

    def refused(self, world: World) -> Any:
        answer = world.call("GET", "/events")
        assert (answer.status_code, answer.json["code"]) == (429, "rate_limited")
        assert answer.headers["Retry-After"] == "5"
        return answer.json["detail"]

    @pytest.mark.parametrize(
        ("settings", "detail"),
        [
            ({}, "All places are taken; at most 2 event streams are open here."),
            (
                {"event_streams": 50, "threads": 4},
                "All places are taken; at most 2 event streams are open here.",
            ),
            (
                {"event_streams": 50, "caller_streams": 2},
                "You have 2 event streams open, the most you may.",
            ),
        ],
        indirect=["settings"],
    )
    def test_so_many_and_no_more(self, world: World, listen: Listen, detail: str) -> None:
        streams = [listen(), listen()]
        assert [self.refused(world) for _ in range(20)] == [detail] * 20
        streams[0].close()
        listen()
        assert self.refused(world) == detail

    @pytest.mark.parametrize("settings", [{"event_streams": 50, "threads": 4}], indirect=True)
    def test_who_waits_holds_places_too(self, world: World, listen: Listen) -> None:
        places = world.services.operations._waiting.places
        assert places.acquire(blocking=False)
        listen()
        assert not places.acquire(blocking=False)
        self.refused(world)
        places.release()
        listen()
