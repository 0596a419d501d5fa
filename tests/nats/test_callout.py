"""A nats-server that asks the coordinators who its clients are."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from common import subjects
from common.bus import Bus, BusRefused, BusSettings, CoreNats, KeyValue
from common.join_token import JoinKind
from coordinator.access.callers import UnknownCredentialError
from coordinator.callout import identities
from coordinator.callout.callout import CONNECTIONS_PER_MINUTE
from coordinator.callout.join_tokens import new_join_token, revocation_key
from coordinator.callout.server_settings import USER, authorization
from coordinator.callout.signing_key import SigningKey, new_seed
from sandbox.ports import free_port
from tests.fixtures.nats import StartNats, eventually
from tests.nats.callout_parts import TOKEN, AskingNats, asking_nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.nats

POD_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"


@pytest.fixture
async def silent_nats(start_nats: StartNats) -> AsyncIterator[AskingNats]:
    """A server whom nobody answers yet."""
    async with asking_nats(start_nats) as nats:
        yield nats


@pytest.fixture
async def nats(silent_nats: AskingNats) -> AskingNats:
    """A server that is answered."""
    await silent_nats.answer()
    return silent_nats


async def until_kept_out(nats: AskingNats, **settings: Any) -> str:
    """Try to connect until it is said that somebody is kept out; what a client is told."""
    told: list[str] = []
    given = BusSettings(servers=(nats.server.url,), **settings)
    connection = CoreNats(given, lambda _, why: told.append(why))
    trying = asyncio.create_task(connection.establish())
    try:
        await eventually(lambda: bool(told))
    finally:
        trying.cancel()
        await asyncio.wait([trying])
    assert not connection.connected
    return told[0]


async def test_a_join_token_lets_its_node_in(nats: AskingNats) -> None:
    """And commands reach it, and its word reaches the coordinator."""
    heard: list[str] = []
    agent = await nats.agent("node-1.zone")
    await nats.bus.subscribe(subjects.ALL_HEARTBEATS, lambda got: heard.append(got.subject))
    await agent.subscribe(
        "ips.v1.command.node-1_zone.*", lambda got: agent.publish(got.reply, b"yes")
    )
    agent.publish(subjects.heartbeat("node-1.zone", "0" * 16), b"{}")
    await eventually(lambda: heard == ["ips.v1.heartbeat.node-1_zone.0000000000000000"])
    assert await nats.bus.call("ips.v1.command.node-1_zone.x", b"", 5) == b"yes"


@pytest.mark.parametrize("change", ["node", "serial", "mac", "key", "kind"])
async def test_a_join_token_that_was_changed_lets_nobody_in(nats: AskingNats, change: str) -> None:
    """Whatever of it is another, and one of another installation."""
    key = SigningKey(new_seed()) if change == "key" else nats.key
    token = new_join_token(key, JoinKind.NODE, "node-1", time.time())
    changed = {
        "node": token._replace(name="node-2"),
        "serial": token._replace(serial=token.serial + 1),
        "mac": token._replace(mac="A" * 43),
        "key": token,
        "kind": token._replace(kind=JoinKind.EVENTS),
    }[change]
    said = await until_kept_out(nats, token=str(changed))
    assert "does not accept the token" in said
    assert token.mac not in nats.server.log


async def test_a_plain_token_that_is_wrong_is_refused_for_good(nats: AskingNats) -> None:
    """Whoever shows one has mistyped it: no use in trying on."""
    with pytest.raises(BusRefused, match="IPS_NATS_TOKEN"):
        await nats.agent("node-1", token="mistaken")


async def test_the_administrator_has_the_token(nats: AskingNats) -> None:
    """As before there were identities: an agent of version 1.0.0 works on with it, too."""
    bus = await Bus.connect(BusSettings(servers=(nats.server.url,), token=TOKEN))
    await nats.run(bus)
    assert (await bus.stream_state(subjects.RESULTS)).messages == 0
    with pytest.raises(BusRefused):
        await Bus.connect(BusSettings(servers=(nats.server.url,), user=USER, token="wrong"))


async def test_who_comes_before_a_coordinator_waits_for_one(start_nats: StartNats) -> None:
    """The server sends it away, it says why, and comes again."""
    async with asking_nats(start_nats, timeout=0.5) as nats:
        told: list[str] = []
        connection = CoreNats(
            BusSettings(servers=(nats.server.url,), token=nats.join_token("a")),
            lambda _, why: told.append(why),
        )
        coming = asyncio.create_task(connection.establish())
        await eventually(lambda: bool(told))
        assert "no coordinator is there" in told[0]
        await nats.answer()
        await coming
        await nats.run(connection)
        assert connection.connected


async def test_nobody_but_a_server_asks(nats: AskingNats) -> None:
    """Whoever has all rights may not either: NATS itself sees to that."""
    asked: list[str] = []
    await nats.bus.subscribe("$SYS.REQ.USER.AUTH", lambda got: asked.append(got.reply))
    nats.bus.publish("$SYS.REQ.USER.AUTH", b"a.b.c", reply="ips.v1.command.a.x")
    await nats.bus.ping(5)
    assert asked == []


async def test_a_revoked_token_lets_nobody_in_and_a_new_one_does(nats: AskingNats) -> None:
    """All that were made so far, of that name alone."""
    old = nats.join_token("node-1")
    bucket = KeyValue(nats.bus, subjects.KEYS_BUCKET)
    upto = int(time.time() * 1000)
    await bucket.create(revocation_key(JoinKind.NODE, "node-1"), str(upto).encode())
    read = new_join_token(nats.key, JoinKind.NODE, "node-1", upto / 1000)
    await eventually(lambda: nats.revoked.has(read))
    await until_kept_out(nats, token=old)
    later = new_join_token(nats.key, JoinKind.NODE, "node-1", time.time() + 1)
    assert (await nats.agent("node-1", token=str(later))).connected
    assert (await nats.agent("node-2")).connected


async def test_a_connection_ends_with_its_credential_and_comes_back(
    nats: AskingNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a failed try in between, and without a word of the program's."""
    monkeypatch.setattr(identities, "CONNECTION_SECONDS", 1.0)
    states: list[tuple[bool, str]] = []
    settings = BusSettings(
        servers=(nats.server.url,),
        token=nats.join_token("node-1"),
        inbox=subjects.inboxes_of("node-1"),
    )
    agent = await CoreNats.connect(settings, lambda *state: states.append(state))
    await nats.run(agent)
    heard: list[bytes] = []
    await agent.subscribe("ips.v1.command.node-1.*", lambda got: heard.append(got.data))
    # It ends again and again: what is sent while it is away is heard by nobody.
    await eventually(lambda: [connected for connected, _ in states[:3]] == [True, False, True])
    assert "expired" in states[1][1].lower()

    def is_heard() -> bool:
        nats.bus.publish("ips.v1.command.node-1.x", b"still there")
        return b"still there" in heard

    await eventually(is_heard)
    assert all(before[0] != after[0] for before, after in pairwise(states))


class Pods:
    """Knows some tokens of one node, and how long each is good, in place of an API server."""

    def __init__(self, **seconds: float) -> None:
        now = time.time()
        self._until = {POD_TOKEN: now + 60} | {
            f"{POD_TOKEN}{name}": now + left for name, left in seconds.items()
        }

    async def identify(self, token: str) -> identities.AgentPod:
        """Whose it is."""
        if token not in self._until:
            raise UnknownCredentialError
        return identities.AgentPod("node-7", self._until[token])


async def test_a_rotated_token_is_found_when_the_old_one_ends(
    silent_nats: AskingNats, tmp_path: Path
) -> None:
    """The kubelet writes it long before: there is no failed try in between."""
    await silent_nats.answer(Pods(Old=2.0))
    file = tmp_path / "token"
    file.write_text(f"{POD_TOKEN}Old")
    states: list[bool] = []
    agent = await CoreNats.connect(
        BusSettings(servers=(silent_nats.server.url,), token_file=file),
        lambda connected, _: states.append(connected),
    )
    await silent_nats.run(agent)
    file.write_text(POD_TOKEN)
    await eventually(lambda: states == [True, False, True])


async def test_three_servers_of_which_one_dies(start_nats: StartNats) -> None:
    """Any coordinator answers any server; what one had is taken over by the others."""
    key = SigningKey(new_seed())
    ports = [free_port() for _ in range(3)]
    routes = [f"nats-route://127.0.0.1:{port}" for port in ports]
    servers = [
        await start_nats(
            jetstream=None,
            authorization=authorization(key.issuer, TOKEN),
            server_name=f"s{port}",
            cluster={"name": "c", "listen": f"127.0.0.1:{port}", "routes": routes},
        )
        for port in ports
    ]
    async with AsyncExitStack() as opened:
        parts = [AskingNats(server, key, opened) for server in servers]
        for part in parts[:2]:
            part.bus = await CoreNats.connect(
                BusSettings(servers=(part.server.url,), user=USER, token=TOKEN)
            )
            await part.run(part.bus)
            part.revoked.loaded = True
            await part.answer(follow=False)
        agents = [await parts[2].agent(f"node-{n}") for n in range(20)]
        await servers[0].kill()
        agents += [await parts[2].agent(f"other-{n}") for n in range(20)]
        assert all(agent.connected for agent in agents)
        for part in parts[:2]:
            await part.silent()


async def test_an_agent_in_a_pod_is_its_pods_node(silent_nats: AskingNats) -> None:
    """As Kubernetes says; another token of Kubernetes' is nobody's."""
    await silent_nats.answer(Pods())
    agent = await silent_nats.agent("node-7", token=POD_TOKEN)
    heard: list[str] = []
    await silent_nats.bus.subscribe(subjects.ALL_HEARTBEATS, lambda got: heard.append(got.subject))
    for node in ("node-8", "node-7"):
        agent.publish(subjects.heartbeat(node, "0" * 16), b"{}")
    await eventually(lambda: bool(heard))
    assert heard == [subjects.heartbeat("node-7", "0" * 16)]
    await until_kept_out(silent_nats, token=POD_TOKEN + "x")


async def test_a_subscriber_reads_events_and_nothing_else(nats: AskingNats) -> None:
    """It can publish nowhere, and hears no command and no answer of others'."""
    token = nats.join_token("ci", JoinKind.EVENTS)
    subscriber = await CoreNats.connect(BusSettings(servers=(nats.server.url,), token=token))
    await nats.run(subscriber)
    heard: list[str] = []
    task = "task-20260101-000000-00000001"
    for wanted in ("ips.v1.command.>", "_INBOX.>", subjects.ALL_EVENTS):
        await subscriber.subscribe(wanted, lambda got: heard.append(got.subject))
    subscriber.publish(subjects.event("task.failed", task), b"forged")
    for subject in ("ips.v1.command.a.x", "_INBOX.a.1", subjects.event("task.started", task)):
        nats.bus.publish(subject, b"")
    await eventually(lambda: subjects.event("task.started", task) in heard)
    assert heard == [subjects.event("task.started", task)]


async def test_one_identity_connects_only_so_often(nats: AskingNats) -> None:
    """A stolen token does not fill the server; others are let in meanwhile."""
    await nats.silent()
    await nats.answer(clock=lambda: 0.0)  # or more would be allowed while the first connect
    token = nats.join_token("node-1")
    settings = BusSettings(servers=(nats.server.url,), token=token)
    for _ in range(CONNECTIONS_PER_MINUTE):
        await nats.run(await CoreNats.connect(settings))
    await until_kept_out(nats, token=token)
    assert (await nats.agent("node-2")).connected
