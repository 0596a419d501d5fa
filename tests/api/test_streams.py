from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientResponse
from prometheus_client import CollectorRegistry

from common.messages import ImageProgress, ImageState
from coordinator.api import streams
from coordinator.api.app import make_app
from coordinator.api.streams import DEFAULT_PACE, Pace
from coordinator.api.web_files import FOLDER
from coordinator.core.task import TaskStatus
from coordinator.event_feed import EventFeed
from coordinator.snapshots import KnownNode
from tests.api.conftest import Client
from tests.api.fake_engine import FakeChanges, FakeEngine, FakeNodes, begin, pulled
from tests.api.fake_event_log import FakeEventLog, event
from tests.fixtures.patience import PATIENCE

Create = Callable[..., Awaitable[Any]]
ALL = "/api/v1/events"
TASK = "task-20260116-151234-0000000a"


class Frame(NamedTuple):
    """A frame as it was sent; a comment has nothing but that."""

    event: str | None
    id: str | None
    data: Any

    @property
    def is_comment(self) -> bool:
        """Whether the frame only keeps proxies awake."""
        return self == (None, None, None)


class Stream:
    """An open stream, frame by frame."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def frame(self) -> Frame | None:
        """The next frame, comments too; None at the end."""
        block = b""
        async with asyncio.timeout(PATIENCE):
            while not block.endswith(b"\n\n"):
                line = await self.response.content.readline()
                if not line:
                    assert not block
                    return None
                block += line
        return self._parse(block.decode())

    @staticmethod
    def _parse(block: str) -> Frame:
        fields: dict[str, str] = {}
        for line in block.strip("\n").split("\n"):
            name, _, value = line.partition(": ")
            if not line.startswith(":"):
                assert name not in fields, block
                fields[name] = value
        data = json.loads(fields["data"]) if "data" in fields else None
        return Frame(fields.get("event"), fields.get("id"), data)

    async def next(self) -> Frame | None:
        """The next event; None at the end."""
        while (frame := await self.frame()) is not None and frame.event is None:
            pass
        return frame

    async def ids(self, count: int) -> list[str | None]:
        """The positions of the next so many frames."""
        frames = [await self.next() for _ in range(count)]
        return [None if frame is None else frame.id for frame in frames]

    async def ends(self) -> bool:
        """Whether nothing but the end follows."""
        return await self.next() is None


@pytest.fixture
def stream(client: Client) -> Callable[..., Any]:
    """Open a stream; it begins with a comment, so that a client knows that it is open."""

    @asynccontextmanager
    async def open_stream(path: str, **headers: str) -> AsyncIterator[Stream]:
        async with client.get(path, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.headers["Content-Type"] == "text/event-stream"
            opened = Stream(response)
            first = await opened.frame()
            assert first is not None
            assert first.is_comment
            yield opened

    return open_stream


def events_of(task: str) -> str:
    """Where a task's stream is."""
    return f"/api/v1/tasks/{task}/events"


# ── kept events ──────────────────────────────────────────────────────────────────────────────


async def test_a_tasks_stream_ends_after_its_last_event(
    stream: Any, event_log: FakeEventLog, create: Create
) -> None:
    """Kept ones first, then what comes; type, position and CloudEvent of each."""
    task, other = (await create())["taskId"], (await create())["taskId"]
    await event_log.publish("task.created", task)
    await event_log.publish("task.created", other)
    async with stream(events_of(task)) as opened:
        assert await opened.ids(1) == ["1"]
        await event_log.publish("task.started", task)
        frame = await opened.next()
        assert (frame.event, frame.id) == ("task.started", "3")
        assert frame.data == json.loads(event("task.started", 3))
        await event_log.publish("task.failed", other)
        await event_log.publish("task.completed", task)
        assert await opened.ids(1) == ["5"]
        assert await opened.ends()
    async with stream(events_of(task), **{"Last-Event-ID": "1"}) as opened:
        assert await opened.ids(2) == ["3", "5"]
        assert await opened.ends()


async def test_the_stream_of_all_begins_now_and_resumes(
    stream: Any, event_log: FakeEventLog, create: Create
) -> None:
    """The header wins over the parameter: a browser that comes back sends the header."""
    task = (await create())["taskId"]
    await event_log.publish("task.created", task)
    await event_log.publish("task.started", task)
    async with stream(ALL) as opened:
        await event_log.publish("task.completed", task)
        assert await opened.ids(1) == ["3"]
        await event_log.publish("task.created", task)
        assert await opened.ids(1) == ["4"]
    async with stream(f"{ALL}?lastEventId=1") as opened:
        assert await opened.ids(3) == ["2", "3", "4"]
    async with stream(f"{ALL}?lastEventId=1", **{"Last-Event-ID": "3"}) as opened:
        assert await opened.ids(1) == ["4"]


async def test_the_stream_of_all_tells_at_once_where_to_go_on(
    stream: Any, event_log: FakeEventLog, create: Create
) -> None:
    """A client whose connection breaks before the first event misses nothing."""
    task = (await create())["taskId"]
    await event_log.publish("task.created", task)
    async with stream(ALL) as opened:
        assert await opened.frame() == (None, "1", None)
    await event_log.publish("task.started", task)
    async with stream(f"{ALL}?lastEventId=1") as opened:
        assert await opened.frame() == (None, "1", None)
        assert await opened.ids(1) == ["2"]


@pytest.mark.parametrize("position", ["0", "999", "-1", "x", "9" * 5000, "\u00e9"])
async def test_a_position_that_is_not_kept_says_reset_first(
    stream: Any, event_log: FakeEventLog, create: Create, position: str
) -> None:
    """With a position to go on from, so that a client that breaks off here is not reset again."""
    task = (await create())["taskId"]
    for _ in range(3):
        await event_log.publish("task.progress", task)
    event_log.forget(1)
    async with stream(events_of(task), **{"Last-Event-ID": position}) as opened:
        assert await opened.next() == ("reset", "1", {})
        assert await opened.ids(2) == ["2", "3"]
    async with stream(f"{ALL}?lastEventId={position}") as opened:
        assert await opened.next() == ("reset", "3", {})


async def test_nothing_left_is_204(
    client: Client, engine: FakeEngine, event_log: FakeEventLog, create: Create
) -> None:
    """At or past a task's last event browsers are told to stop asking."""
    task = (await create())["taskId"]
    engine.started(task, ["node-1"])
    engine.ended(task, TaskStatus.FAILED)
    position = await event_log.publish("task.failed", task)
    for after in (position, position + 5, 10**30):
        answer = await client.get(events_of(task), headers={"Last-Event-ID": str(after)})
        assert answer.status == 204
        assert await answer.read() == b""


async def test_comments_keep_proxies_awake(stream: Any) -> None:
    """They come by themselves, in time."""
    async with stream(ALL) as opened:
        assert (await opened.frame()).id == "0"
        assert (await opened.frame()).is_comment
        assert (await opened.frame()).is_comment


def test_the_page_waits_longer_than_the_server_is_silent() -> None:
    """It takes silence for a held stream: the first byte is due at once, another every 5 s."""
    script = (FOLDER / "js/event_stream.js").read_text()
    silence = re.search(r"SILENCE = \{ first: ([0-9_]+), later: ([0-9_]+) \}", script)
    assert silence is not None
    first, later = (int(number) / 1000 for number in silence.groups())
    assert first < 5
    assert DEFAULT_PACE.comment <= 5
    assert DEFAULT_PACE.comment + 2 < later < 10


async def test_nothing_comes_between_the_parts_of_a_frame(
    engine: FakeEngine,
    feed: EventFeed,
    event_log: FakeEventLog,
    monkeypatch: pytest.MonkeyPatch,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """Large events are written in parts; comments and live frames wait for the last of them."""
    monkeypatch.setattr(streams, "PIECE_BYTES", 7)
    monkeypatch.setattr(streams, "NODES_AT_A_TIME", 1)
    engine.known = {name: KnownNode(name) for name in "abc"}
    pace = Pace(comment=0.0, live=0.0)
    client = await aiohttp_client(make_app(engine, feed, CollectorRegistry(), pace=pace))
    async with client.get(f"{ALL}?live=true") as response:
        opened = Stream(response)
        for number in range(1, 11):
            await event_log.publish("task.progress", TASK)
            _fleet(engine).add("a", "b", "c", "gone")
            seen = set[str | None]()
            while seen != {"task.progress", "agents"}:
                frame = await opened.next()
                assert frame is not None
                seen.add(frame.event)
                if frame.event == "agents":
                    assert [node["name"] for node in frame.data["nodes"]] == ["a", "b", "c"]
                    assert frame.data["gone"] == ["gone"]
                else:
                    assert frame.id == str(number)


async def test_a_client_that_does_not_read_costs_the_system_little() -> None:
    """Its socket takes some kilobytes, and not the megabytes that the system allows."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
    streams._bound_buffers(transport)
    kept = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert kept <= 2 * streams.SOCKET_BYTES  # Linux doubles it for its own needs
    transport.abort()
    theirs.close()
    await asyncio.sleep(0)
    streams._bound_buffers(transport)
    streams._bound_buffers(None)


async def test_bad_parameters(client: Client, create: Create) -> None:
    """400 before a stream begins."""
    task = (await create())["taskId"]
    for path in (ALL, events_of(task)):
        answer = await client.get(f"{path}?live=yes")
        assert answer.status == 400
        assert [fault["field"] for fault in (await answer.json())["errors"]] == ["?live"]


async def test_streams_end_with_the_feed(
    client: Client, feed: EventFeed, stream: Any, engine: FakeEngine
) -> None:
    """In order, so that clients come back and resume; live ones too."""
    async with stream(f"{ALL}?live=true") as opened:
        feed.end_all()
        assert await opened.ends()
    assert all(changes.closed for changes in engine.fake_live.given[None])
    assert client.app is not None
    async with stream(ALL) as opened:
        await client.app.shutdown()
        assert await opened.ends()


async def test_a_client_that_goes_leaves_nothing_behind(
    stream: Any, feed: EventFeed, engine: FakeEngine, event_log: FakeEventLog, create: Create
) -> None:
    """Its reading and its subscription end with the first write that finds nobody."""
    task = (await create())["taskId"]
    async with stream(f"{ALL}?live=true") as opened:
        opened.response.close()
    async with stream(f"{events_of(task)}?live=true") as opened:
        opened.response.close()
    async with asyncio.timeout(PATIENCE):
        while feed._readings:
            await event_log.publish("task.progress", task)
            await asyncio.sleep(0.01)
    given = [changes for some in engine.fake_live.given.values() for changes in some]
    assert [changes.closed for changes in given] == [True, True]


async def test_a_client_that_does_not_read_is_disconnected(
    engine: FakeEngine,
    feed: EventFeed,
    event_log: FakeEventLog,
    create: Create,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """It may keep one write waiting for so long and no longer."""
    app = make_app(engine, feed, CollectorRegistry(), pace=Pace(patience=0.2))
    client = await aiohttp_client(app)
    task = (await create())["taskId"]
    async with client.get(ALL) as response:
        assert response.status == 200
        big = event("task.progress", 1)[:-1] + b',"x": "' + b"x" * 200_000 + b'"}'
        async with asyncio.timeout(PATIENCE):
            while feed._readings:
                await event_log.publish("task.progress", task, big)
                await asyncio.sleep(0.005)


async def test_a_fault_in_mid_stream_ends_it(
    stream: Any, feed: EventFeed, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails after the answer has begun ends this stream, and nothing else."""

    def explode(*_: object) -> None:
        raise RuntimeError("a fault")

    async with stream(f"{ALL}?live=true") as opened:
        monkeypatch.setattr(FakeNodes, "get", explode)
        _fleet(engine).add("node-1")
        with pytest.raises(Exception, match=r"(?i)payload|disconnected|reset"):
            await opened.ends()
    async with asyncio.timeout(PATIENCE):
        while feed._readings:
            await asyncio.sleep(0.01)


async def test_what_comes_while_a_write_waits_is_sent_before_the_end(
    feed: EventFeed, event_log: FakeEventLog
) -> None:
    """A reading that ends still has in its queue what came before."""
    sent: list[bytes] = []

    class Slow:
        """A response whose first write takes until the reading has gone on and ended."""

        async def write(self, data: bytes) -> None:
            if not sent:
                position = await event_log.publish("task.started", TASK)
                while feed.position < position:
                    await asyncio.sleep(0)
                feed.end_all()
            sent.append(data)

    await event_log.publish("task.created", TASK)
    wake = asyncio.Event()
    reading = await feed.open(None, 0, wake.set)
    request = SimpleNamespace(writer=SimpleNamespace(drain=partial(asyncio.sleep, 0)))
    connection = streams._Connection(request, Slow(), Pace())  # type: ignore[arg-type]
    await connection._send_kept(reading, wake)
    blocks = b"".join(sent).removesuffix(b"\n\n").split(b"\n\n")
    assert [block.split(b"\n")[0] for block in blocks] == [
        b"id: 0",
        b"event: task.created",
        b"event: task.started",
    ]


# ── live frames ──────────────────────────────────────────────────────────────────────────────


def _fleet(engine: FakeEngine) -> FakeChanges:
    return engine.fake_live.given[None][-1]


async def test_live_frames_of_a_task(
    stream: Any, engine: FakeEngine, event_log: FakeEventLog, create: Create
) -> None:
    """The newest state of just what changed, without an id, merged, beside the kept events."""
    task = (await create())["taskId"]
    async with stream(f"{events_of(task)}?live=true") as opened:
        changes = engine.fake_live.given[task][-1]
        changes.add("node-1")  # before the task runs there is nothing to show
        run = engine.started(task, ["node-1", "node-2", "node-3"])
        begin(run, "node-1")
        changes.add("node-3", "node-1", "unknown")
        for received in (10, 20):
            engine.progress[task, "node-1"] = {
                "nginx": ImageProgress(
                    image="nginx", state=ImageState.PULLING, bytes=received, total_bytes=90
                )
            }
        frame = await opened.next()
        assert (frame.event, frame.id) == ("nodes", None)
        assert frame.data == {
            "nodes": [
                {
                    "nodeName": "node-1",
                    "state": "pulling",
                    "attempt": 1,
                    "images": [
                        {"image": "nginx", "state": "pulling", "bytes": 20, "totalBytes": 90}
                    ],
                },
                {
                    "nodeName": "node-3",
                    "state": "waiting",
                    "attempt": 1,
                    "images": [{"image": "nginx", "state": "waiting"}],
                },
            ]
        }
        await event_log.publish("task.started", task)
        assert await opened.ids(1) == ["1"]
        engine.outcome(task, "node-1", pulled("nginx"))
        changes.add("node-1")
        frame = await opened.next()
        assert [node["state"] for node in frame.data["nodes"]] == ["succeeded"]
        await event_log.publish("task.completed", task)
        assert await opened.ids(1) == ["2"]
        assert await opened.ends()


async def test_live_frames_of_the_fleet(stream: Any, engine: FakeEngine) -> None:
    """Nodes as GET gives them, and the names of those that are gone."""
    engine.known = {"a": KnownNode("a"), "b": KnownNode("b", connected=True)}
    async with stream(f"{ALL}?live=true") as opened:
        _fleet(engine).add("b", "a", "gone")
        frame = await opened.next()
        assert (frame.event, frame.id) == ("agents", None)
        assert [node["name"] for node in frame.data["nodes"]] == ["a", "b"]
        assert frame.data["gone"] == ["gone"]
        assert frame.data["nodes"][1]["connected"] is True


async def test_live_frames_are_merged(
    engine: FakeEngine,
    feed: EventFeed,
    monkeypatch: pytest.MonkeyPatch,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """However often something changes there is one frame in an interval, and none is endless."""
    monkeypatch.setattr(streams, "NODES_IN_A_FRAME", 3)
    app = make_app(engine, feed, CollectorRegistry(), pace=Pace(live=0.3))
    client = await aiohttp_client(app)
    async with client.get(f"{ALL}?live=true") as response:
        opened = Stream(response)
        await opened.frame()
        changes = _fleet(engine)
        changes.add("a")
        assert (await _gone(opened)) == ["a"]
        began = asyncio.get_running_loop().time()
        for name in ("b", "c", "b", "d", "e"):
            changes.add(name)
            await asyncio.sleep(0)
        first, second = await _gone(opened), await _gone(opened)
        assert asyncio.get_running_loop().time() - began > 0.5
    assert (len(first), len(second)) == (3, 1)
    assert sorted(first + second) == ["b", "c", "d", "e"]


async def _gone(opened: Stream) -> list[str]:
    frame = await opened.next()
    assert frame is not None
    gone: list[str] = frame.data["gone"]
    return gone


async def test_without_live_there_are_no_live_frames(stream: Any, engine: FakeEngine) -> None:
    """Nobody is subscribed who did not ask."""
    for path in (ALL, f"{ALL}?live=false", f"{ALL}?live="):
        async with stream(path):
            assert not engine.fake_live.given
