"""The table of nodes: heartbeats and the source's words in, events and answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from common import subjects
from common.bus import Received
from common.messages import NOT_DECODABLE, Heartbeat, Hold, ImageDisk
from common.text import Text
from common.texts import NODE_CORDONED, NODE_UNKNOWN
from coordinator.core.events import (
    AgentHeard,
    Event,
    NodeSeen,
    NodesListed,
    NodeVanished,
)
from coordinator.core.fleet import MOST_SIGHTINGS, Node
from coordinator.core.scheduler import Core, Limits
from coordinator.engine import nodes as engine_nodes
from coordinator.engine.nodes import LONGEST_INTERVAL, SHORTEST_INTERVAL, NodeTable
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.nodes.source import NodeSink
from coordinator.snapshots import KnownNode
from sandbox.virtual.time import virtual
from tests.engine.following import TASK

FIRST, SECOND = "0000000000000001", "0000000000000002"
FORGET_SECONDS = 100.0


class KnownNodes(AnnouncedNodes):
    """A source that knows by itself what exists, as Kubernetes does."""

    def __init__(self, sink: NodeSink) -> None:
        super().__init__(sink)
        self.words: list[tuple[str, str]] = []

    def announced(self, name: str, labels: Mapping[str, str]) -> None:
        """What agents say of labels is not believed."""
        self.words.append(("announced", f"{name} {dict(labels)}"))

    def forgotten(self, name: str) -> None:
        """That an agent is silent says nothing of its node."""
        self.words.append(("forgotten", name))

    def unknown(self, name: str) -> Text:  # type: ignore[override]
        """Whoever was not seen is none."""
        return NODE_UNKNOWN(node=name)


class Tabled:
    """A table of nodes on a core."""

    def __init__(
        self, source: Any = AnnouncedNodes, forget_seconds: float = FORGET_SECONDS
    ) -> None:
        loop = asyncio.get_running_loop()
        self.core = Core(Limits(), 0.0)
        self.fed: list[Event] = []
        self.changed: list[list[str]] = []
        self.clock = loop.time
        self.nodes = NodeTable(
            fleet=self.core.fleet,
            new_source=source,
            feed=self.feed,
            clock=self.clock,
            on_change=lambda names: self.changed.append(list(names)),
            forget_seconds=forget_seconds,
        )
        self.watching = asyncio.create_task(self.nodes.watch_silence())

    def feed(self, event: Event) -> None:
        """Let the core know."""
        self.fed.append(event)
        self.core.handle(event, self.clock())

    def beat(self, node: str = "n1", instance: str = FIRST, **said: Any) -> None:
        """A heartbeat comes in."""
        heartbeat = Heartbeat(
            **{"agent_version": "1", "driver": "cri", "runtime": "containerd"} | said
        )
        data = msgspec.json.encode(heartbeat)
        self.nodes.on_heartbeat(Received(subjects.heartbeat(node, instance), data, ""))

    def node(self, name: str = "n1") -> KnownNode:
        """What is known of a node."""
        known = self.nodes.get(name)
        assert known is not None
        return known

    def taken(self) -> list[list[str]]:
        """Who has changed since this was asked last, by each word."""
        changed, self.changed = self.changed, []
        return changed


@virtual
async def test_the_first_heartbeat_makes_a_node() -> None:
    """Where agents announce themselves; with all that it says."""
    tabled = Tabled()
    disk = ImageDisk(free_bytes=1, total_bytes=2)
    shown: dict[str, Any] = {
        "labels": {"zone": "a"},
        "runtime": "containerd 2.1.9",
        "platform": "linux/amd64",
        "image_disk": disk,
        "pulling": ["ref/a"],
        "agent_version": "1",
        "driver": "cri",
    }
    tabled.beat(holds=[Hold(task=TASK, attempt=1)], **shown)
    assert tabled.fed == [
        NodeSeen("n1", {"zone": "a"}),
        AgentHeard("n1", FIRST, (Hold(task=TASK, attempt=1),), 10.0, leaving=False),
    ]
    assert tabled.node() == KnownNode("n1", connected=True, last_seen=0, **shown)
    assert list(tabled.nodes.labels()) == [("n1", {"zone": "a"})]
    assert ["n1"] in tabled.taken()
    tabled.watching.cancel()


@virtual
async def test_a_heartbeat_that_says_nothing_new_wakes_nobody() -> None:
    """It moves only the time at which the agent was seen, and the core's deadline."""
    tabled = Tabled()
    tabled.beat()
    tabled.taken()
    await asyncio.sleep(5.0)
    tabled.fed.clear()
    tabled.beat()
    assert tabled.taken() == []
    assert [type(event) for event in tabled.fed] == [AgentHeard]
    assert tabled.node().last_seen == 5000
    tabled.watching.cancel()


@pytest.mark.parametrize(
    "news",
    [
        {"runtime": "containerd 2"},
        {"agent_version": "2"},
        {"driver": "crictl"},
        {"pulling": ["ref/a"]},
        {"image_disk": ImageDisk(free_bytes=1, total_bytes=2)},
        {"labels": {"zone": "b"}},
    ],
    ids=str,
)
def test_whoever_watches_is_told_what_is_new(news: dict[str, Any]) -> None:
    """Of everything that is shown; new labels come by the source."""

    @virtual
    async def run() -> None:
        tabled = Tabled()
        tabled.beat()
        tabled.taken()
        tabled.beat(**news)
        assert ["n1"] in tabled.taken()
        for name, value in news.items():
            assert getattr(tabled.node(), name) == value
        tabled.watching.cancel()

    run()


@pytest.mark.parametrize(
    ("said", "believed"),
    [(0.0, SHORTEST_INTERVAL), (0.05, SHORTEST_INTERVAL), (1e9, LONGEST_INTERVAL), (7.0, 7.0)],
)
def test_an_interval_is_believed_within_bounds(said: float, believed: float) -> None:
    """An agent that never had to speak again would never be silent."""

    @virtual
    async def run() -> None:
        tabled = Tabled()
        tabled.beat(interval=said)
        assert tabled.fed[-1] == AgentHeard("n1", FIRST, (), believed)
        tabled.watching.cancel()

    run()


POISON = [
    b"",
    b"{}",
    b"null",
    b'{"agentVersion":1,"driver":"d"}',
    b'{"agentVersion":"\xff","driver":"d"}',
    b'{"agentVersion":"1","driver":"d","interval":1e999}',
    b'{"agentVersion":"1","driver":"d","interval":1e300}',
    b'{"agentVersion":"1","driver":"d","interval":-5}',
    b'{"agentVersion":"1","driver":"d","imageDisk":{"freeBytes":-1,"totalBytes":1}}',
    b'{"agentVersion":"1","driver":"d","holds":[{"task":"x","attempt":1}]}',
    b'{"agentVersion":"1","driver":"d","new":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.parametrize("data", POISON, ids=lambda data: data[:40].decode("latin-1"))
def test_a_poisonous_heartbeat_changes_nothing(data: bytes) -> None:
    """Neither the table nor the core; its error is one that is expected."""

    @virtual
    async def run() -> None:
        tabled = Tabled()
        with pytest.raises(NOT_DECODABLE):
            tabled.nodes.on_heartbeat(Received(subjects.heartbeat("n1", FIRST), data, ""))
        assert (tabled.fed, tabled.changed) == ([], [])
        assert tabled.nodes.get("n1") is None
        tabled.watching.cancel()

    run()


@pytest.mark.parametrize("subject", ["ips.v1.heartbeat.N_1.x", f"ips.v1.heartbeat.-.{FIRST}", "x"])
def test_a_heartbeat_on_a_strange_subject_is_none(subject: str) -> None:
    """Only the subject names the node."""

    @virtual
    async def run() -> None:
        tabled = Tabled()
        with pytest.raises(ValueError, match="no heartbeat has the subject"):
            tabled.nodes.on_heartbeat(Received(subject, b"{}", ""))
        assert tabled.fed == []
        tabled.watching.cancel()

    run()


# ── nodes of which somebody else knows ──


@virtual
async def test_a_source_knows_nodes_without_agents() -> None:
    """They are shown, are not connected, and take work as their source says."""
    tabled = Tabled(KnownNodes)
    problem = NODE_CORDONED(node="n2")
    tabled.nodes.seen("n1", Node({"zone": "a"}, schedulable=True))
    tabled.nodes.seen("n2", Node({}, schedulable=False, problem=problem))
    tabled.nodes.listed()
    assert tabled.fed == [
        NodeSeen("n1", {"zone": "a"}),
        NodeSeen("n2", {}, schedulable=False, problem=problem),
        NodesListed(),
    ]
    assert tabled.node("n1") == KnownNode("n1", {"zone": "a"})
    assert tabled.node("n2") == KnownNode("n2", schedulable=False, problem=problem)
    tabled.nodes.vanished("n1")
    assert tabled.fed[-1] == NodeVanished("n1")
    assert tabled.nodes.get("n1") is None
    assert tabled.taken() == [["n1"], ["n2"], ["n1"]]
    tabled.watching.cancel()


@virtual
async def test_an_agent_without_a_node_is_shown_with_its_problem() -> None:
    """Its labels are its own word only, and count nowhere."""
    tabled = Tabled(KnownNodes)
    tabled.beat(labels={"zone": "a"})
    tabled.beat(labels={"zone": "b"})
    tabled.beat(labels={"zone": "b"})
    node = tabled.node()
    assert (node.labels, node.schedulable, node.problem) == ({}, False, NODE_UNKNOWN(node="n1"))
    assert node.connected
    assert list(tabled.nodes.labels()) == [("n1", {})]
    source = tabled.nodes.source
    assert isinstance(source, KnownNodes)
    assert source.words == [("announced", f"n1 {{'zone': '{zone}'}}") for zone in "ab"]
    tabled.watching.cancel()


@virtual
async def test_a_silent_agent_leaves_its_node_where_that_exists_without_it() -> None:
    """Its source is told; the node stays as it says, and what the agent said of it goes."""
    tabled = Tabled(KnownNodes)
    tabled.nodes.seen("n1", Node({}, schedulable=True))
    tabled.beat(runtime="containerd 2")
    await asyncio.sleep(FORGET_SECONDS + 3)
    assert tabled.node() == KnownNode("n1")
    source = tabled.nodes.source
    assert isinstance(source, KnownNodes)
    assert source.words[-1] == ("forgotten", "n1")
    tabled.watching.cancel()


@virtual
async def test_two_agents_under_one_name_are_a_conflict() -> None:
    """It is said with both; the node takes no work until one is silent."""
    tabled = Tabled()
    for _ in range(3):
        for instance in (FIRST, SECOND):
            tabled.beat(instance=instance, interval=2.0)
            await asyncio.sleep(1.0)
    node = tabled.node()
    assert not node.schedulable
    assert node.problem is not None
    assert node.problem.code == "node.conflict"
    for _ in range(10):
        tabled.beat(instance=SECOND, interval=2.0)
        await asyncio.sleep(1.0)
    assert tabled.node().problem is None
    tabled.watching.cancel()


@virtual
async def test_a_question_makes_no_node() -> None:
    """Users ask for any name."""
    tabled = Tabled()
    assert tabled.nodes.get("n9") is None
    assert list(tabled.nodes.labels()) == []
    assert not tabled.core.fleet.nodes
    assert tabled.fed == []
    tabled.watching.cancel()


@virtual
async def test_nodes_are_ordered_by_name() -> None:
    """Whoever named them, and each once."""
    tabled = Tabled(KnownNodes)
    tabled.nodes.seen("n2", Node({"a": "b"}, schedulable=True))
    for name in ("n3", "n1", "n2"):
        tabled.beat(name)
    assert list(tabled.nodes.labels()) == [("n1", {}), ("n2", {"a": "b"}), ("n3", {})]
    tabled.watching.cancel()


@virtual
async def test_of_agents_that_make_names_up_there_are_not_more_than_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are known are heard all the same, and so is who speaks for a node of the source.

    Under one name only a few instances are told apart.
    """
    monkeypatch.setattr(engine_nodes, "MOST_AGENTS", 3)
    tabled = Tabled(KnownNodes)
    tabled.nodes.seen("real", Node({}, schedulable=True))
    for number in range(3):
        tabled.beat(f"n{number}")
    with pytest.raises(ValueError, match="room"):
        tabled.beat("n3")
    tabled.beat("n1")
    tabled.beat("real")
    assert tabled.node("real").connected
    assert tabled.nodes.get("n3") is None
    for number in range(1000):
        tabled.beat("n0", f"{number:016x}")
    presence = tabled.core._fleet._presence["n0"]
    assert len(presence.sightings) <= MOST_SIGHTINGS
    tabled.watching.cancel()
