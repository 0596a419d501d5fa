"""Secrets are put wherever one can be given, and then looked for everywhere: found not once."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.bus import BusSettings, CoreNats
from coordinator.access.token_file import line
from coordinator.callout.server_settings import USER
from sandbox.containerd import Containerd
from sandbox.images import make_image
from sandbox.registry import Registry
from tests.fixtures.fleet import Fleet, children_of

pytestmark = [pytest.mark.system, pytest.mark.containerd]

MIB = 1024 * 1024
PRIVATE, OF_NODE = "team/private", "team/of-node"


def canary(of: str) -> str:
    """A secret that stands nowhere else."""
    return f"canary-{of}-{secrets.token_hex(12)}"


def key_of_a_file() -> str:
    """A key in base64, which each of its readers takes in its one spelling of the alphabet."""
    while set("-_") & set(made := base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()):
        pass
    return made


class Canaries:
    """The secrets of one test, each with the name of where it was given."""

    def __init__(self) -> None:
        places = ("password", "wrong", "token", "refused", "unstored", "node", "caller", "replaced")
        self.of = {place: canary(place) for place in places}
        for key in ("key", "session", "signing"):  # these have a form of their own
            self.of[key] = key_of_a_file()

    def forms(self) -> Iterator[tuple[str, bytes]]:
        """Each as it is, and as base64 has it at the end of a user's name, wherever that ends."""
        for place, text in self.of.items():
            yield place, text.encode()
            for shift in range(3):
                encoded = base64.b64encode(b" " * shift + text.encode())
                yield place, encoded[4:-4]

    def seen_in(self, where: str, content: bytes) -> list[str]:
        """What of them a text shows."""
        return [f"{place} in {where}" for place, form in self.forms() if form in content]


def processes(*pids: int | None) -> Iterator[tuple[str, bytes]]:
    """Arguments and environments of processes and of all that they have started."""
    for pid in filter(None, pids):
        for name in ("cmdline", "environ"):
            yield f"{pid}/{name}", Path(f"/proc/{pid}/{name}").read_bytes()
        yield from processes(*children_of(pid))


@pytest.fixture
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where secrets are given in files; it is not searched."""
    return tmp_path_factory.mktemp("given")


@pytest.fixture
def canaries() -> Canaries:
    """The secrets."""
    return Canaries()


async def start(
    fleet: Fleet, containerd: Containerd, registry: Registry, canaries: Canaries, given: Path
) -> None:
    """A coordinator that stores credentials for callers it knows, and one agent."""
    (given / "key").write_text(canaries.of["key"])
    (given / "session").write_text(canaries.of["session"])
    (given / "signing").write_text(f"whsec_{canaries.of['signing']}")
    (given / "tokens").write_text(line(canaries.of["caller"], "ann", ("ips-admin",)))
    login = base64.b64encode(f"node:{canaries.of['node']}".encode()).decode()
    auths = {f"{registry.host}/{OF_NODE}": {"auth": login}}
    (given / "config.json").write_text(json.dumps({"auths": auths}))
    chatty = {"IPS_LOG_LEVEL": "debug"}
    await fleet.add_coordinator(
        {
            **chatty,
            "IPS_CREDENTIALS_KEY_FILE": str(given / "key"),
            "IPS_SESSION_KEYS_FILE": str(given / "session"),
            "IPS_WEBHOOK_SECRET_FILE": str(given / "signing"),
            "IPS_AUTH": "tokens",
            "IPS_AUTH_TOKENS": str(given / "tokens"),
            "IPS_LISTEN": "localhost",
        },
        forked=False,
    )
    fleet.http.headers["Authorization"] = f"Bearer {canaries.of['caller']}"
    runtime = {"IPS_RUNTIME": "cri", "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}"}
    config = {"IPS_REGISTRY_CONFIG": str(given / "config.json")}
    await fleet.add_agents(1, {**chatty, **runtime, **config}, forked=False)
    await fleet.known_nodes(1)


async def log_in(fleet: Fleet, canaries: Canaries) -> None:
    """Get a session for the caller's token, which is in the cookie, sealed."""
    body = {"token": canaries.of["caller"]}
    async with fleet.http.post(f"{fleet.url}/api/v1/session", json=body) as answer:
        assert answer.status == 200
        said = f"{answer.headers} {await answer.text()}"
    assert canaries.seen_in("the session", said.encode()) == []


async def put(fleet: Fleet, name: str, **body: str) -> int:
    """Store a credential; the status, after a look at the answer."""
    async with fleet.http.put(f"{fleet.url}/api/v1/credentials/{name}", json=body) as answer:
        assert "canary" not in await answer.text()
        return answer.status


async def store(fleet: Fleet, registry: Registry, canaries: Canaries) -> None:
    """Put what is right, what is wrong, what is replaced, and what is refused."""
    of, host = canaries.of, registry.host
    for status, name, body in (
        (201, "shop", {"username": "ci", "password": of["replaced"]}),
        (200, "shop", {"username": "ci", "password": of["password"]}),
        (201, "wrong", {"username": "ci", "password": of["wrong"]}),
        (201, "token", {"token": of["token"]}),
        (400, "both", {"username": "ci", "password": of["refused"], "token": of["refused"]}),
        (400, "Name", {"username": "ci", "password": of["unstored"]}),
    ):
        assert await put(fleet, name, registry=host, **body) == status


async def everything_said(fleet: Fleet, tasks: list[str]) -> Iterator[tuple[str, bytes]]:
    """What the service tells whoever asks."""
    agent = fleet.agents["node-1"]
    urls = [f"http://{agent.host}:{agent.metrics_port}/metrics", f"{fleet.url}/metrics"]
    paths = ("credentials", "audit", "tasks", "nodes", "sets", "images")
    urls += [f"{fleet.url}/api/v1/{path}" for path in paths]
    for task in tasks:
        urls += [f"{fleet.url}/api/v1/tasks/{task}{part}" for part in ("", "/nodes", "/events")]
    found: list[tuple[str, bytes]] = []
    for url in urls:
        async with fleet.http.get(url) as answer:
            assert answer.status == 200, url
            found.append((url, await answer.read()))
    return iter(found)


async def test_no_place_shows_a_secret(
    fleet: Fleet, registry: Registry, containerd: Containerd, canaries: Canaries, given: Path
) -> None:
    """Logs, store, spool, arguments, environments, metrics, events, answers, and all on the bus.

    Whole programs have to run: what is searched is what they leave behind.
    """
    private = registry.put(PRIVATE, "1", make_image(2 * MIB, seed="private"))
    of_node = registry.put(OF_NODE, "1", make_image(MIB, seed="node"))
    registry.protect(PRIVATE, "ci", canaries.of["password"])
    registry.protect(OF_NODE, "node", canaries.of["node"])
    await start(fleet, containerd, registry, canaries, given)
    spoken: list[bytes] = []
    servers = (f"nats://127.0.0.1:{fleet.coordinator.nats_port}",)
    settings = BusSettings(servers=servers, name="ear", user=USER, token=fleet.coordinator.token)
    bus = await CoreNats.connect(settings, lambda _connected, _why: None)
    listening = asyncio.create_task(bus.run())
    await bus.subscribe(">", lambda received: spoken.append(received.data))
    await log_in(fleet, canaries)
    await store(fleet, registry, canaries)
    shown: list[str] = []

    registry.faults(PRIVATE).stall(after=MIB)
    pulled = await fleet.post([private], credentials=["shop", "token"])
    await registry.until(lambda: registry.sent(PRIVATE) >= MIB)
    pids = (fleet.coordinator.pid, fleet.agents["node-1"].pid, containerd.pid)
    for where, content in processes(*pids):
        shown += canaries.seen_in(where, content)
    registry.faults(PRIVATE).heal()
    assert (await fleet.over(pulled))["status"] == "completed"

    refused = await fleet.post([private], credentials=["wrong"], imagePullPolicy="Always")
    assert (await fleet.over(refused))["status"] == "failed"
    [node] = await fleet.nodes(refused)
    assert node["images"][0]["reason"] == "Unauthorized"
    by_node = await fleet.post([of_node])
    assert (await fleet.over(by_node))["status"] == "completed"

    for where, content in await everything_said(fleet, [pulled, refused, by_node]):
        shown += canaries.seen_in(where, content)
    assert any(b'"sealed"' in each for each in spoken), "the ear hears assignments"
    shown += canaries.seen_in("the bus", b"\n".join(spoken))
    listening.cancel()
    await asyncio.wait([listening])
    await fleet.stop()

    files = [path for path in fleet.folder.rglob("*") if path.is_file()]
    contents = {str(path): path.read_bytes() for path in files}
    has_task = [name for name, content in contents.items() if pulled.encode() in content]
    assert any("IPS_TASKS" in name for name in has_task), "the search reaches what is stored"
    assert any(name.endswith("coordinator.log") for name in has_task), "and what is logged"
    assert any(name.endswith("node-1.log") for name in has_task)
    for name, content in contents.items():
        shown += canaries.seen_in(name, content)
    shown += canaries.seen_in("containerd's log", containerd.log.encode())
    assert shown == []


def test_the_search_finds_what_is_there(canaries: Canaries) -> None:
    """In clear, and in what an HTTP header or a configuration has of a user and a password."""
    password = canaries.of["password"]
    assert canaries.seen_in("text", f"x{password}x".encode()) == ["password in text"]
    for user in ("a", "ab", "abc", "abcd"):
        encoded = base64.b64encode(f"{user}:{password}".encode())
        assert canaries.seen_in("header", encoded) == ["password in header"]
