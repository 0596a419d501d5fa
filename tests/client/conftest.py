"""The service that most tests share, and what stands between a client and a service."""

from __future__ import annotations

import asyncio
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ips_client import Client

from sandbox.forked import Forked, Streams
from sandbox.programs import Agent, Coordinator
from tests.client.between import Between
from tests.client.faces import FACES, MakeFace
from tests.client.images import unique
from tests.fixtures.patience import PATIENCE

NODES = 3


@dataclass(frozen=True)
class Held:
    """An image whose pulls last until the test lets them go."""

    image: str
    gate: Path

    def let_go(self, node: str = "all") -> None:
        """Let a node, or all, have it. May be called again."""
        self.gate.mkdir(exist_ok=True)
        (self.gate / node).touch()


@dataclass(frozen=True)
class Service:
    """A coordinator with three agents, labelled ``workload=compute`` and ``zone=a``, ``b``, ``b``.

    An image takes 0.3 s; one that is named ``…/fails/<reason>`` fails; a ``held`` one lasts.
    """

    coordinator: Coordinator
    agents: tuple[Agent, ...]
    gates: Path
    held: list[Held] = field(default_factory=list)

    def hold(self) -> Held:
        """Make an image that no node has yet, and that none gets before it is let go."""
        gate = secrets.token_hex(6)
        self.held.append(Held(f"registry.test/held/{gate}", self.gates / gate))
        return self.held[-1]

    def let_all_go(self) -> None:
        """What a test that failed still held would keep the places of later tests' tasks."""
        while self.held:
            self.held.pop().let_go()

    @property
    def url(self) -> str:
        """Where it is."""
        return self.coordinator.url


def start_service(folder: Path) -> Service:
    """Start one and wait until it knows its nodes."""
    gates = folder / "gates"
    gates.mkdir()
    coordinator = Coordinator(folder, forked=True)
    coordinator.start()
    asyncio.run(coordinator.ready())
    simulated = {
        "IPS_RUNTIME": "simulated",
        "IPS_HEARTBEAT_SECONDS": "1",
        "IPS_SIMULATED_SECONDS": "0.3",
        "IPS_SIMULATED_BYTES": "1000000",
        "IPS_TEST_GATES": str(gates),
    }
    agents = []
    for number in range(1, NODES + 1):
        labels = {"IPS_NODE_LABELS": f"workload=compute,zone={'a' if number == 1 else 'b'}"}
        own = {**coordinator.agent_settings(f"node-{number}"), **simulated, **labels}
        held = "tests.client.held_agent"
        agents.append(Agent(folder, f"node-{number}", own, module=held, forked=True))
        agents[-1].start()
    asyncio.run(all_ready(agents))  # says the last words of one that has ended
    with Client(coordinator.url) as client:
        eventually(lambda: sum(node.connected for node in client.nodes()) == NODES)
    return Service(coordinator, tuple(agents), gates)


async def all_ready(agents: Iterable[Agent]) -> None:
    """Wait until each is connected. Raises ProgramError."""
    for agent in agents:
        await agent.ready()


def stop_service(service: Service) -> None:
    """End its programs."""

    async def stop() -> None:
        for program in (*service.agents, service.coordinator):
            await program.kill()

    asyncio.run(stop())


def kill(service: Service) -> None:
    """Kill the coordinator."""
    process = service.coordinator.pid
    assert process is not None
    os.killpg(process, signal.SIGKILL)
    eventually(lambda: service.coordinator.pid is None)


def restart(service: Service) -> None:
    """Kill the coordinator and start it again; returns before it is ready."""
    kill(service)
    service.coordinator.start()


def eventually(condition: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Ask again and again until a condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def one_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Have the programs of ``service``."""
    made = start_service(tmp_path_factory.mktemp("service"))
    yield made
    stop_service(made)


@pytest.fixture(scope="session")
def one_frail_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Have the programs of ``frail_service``."""
    made = start_service(tmp_path_factory.mktemp("frail"))
    yield made
    stop_service(made)


@pytest.fixture
def service(one_service: Service) -> Iterator[Service]:
    """Have the shared service: tests leave it as they found it, tasks that are over aside."""
    yield one_service
    one_service.let_all_go()


@pytest.fixture
def frail_service(one_frail_service: Service) -> Iterator[Service]:
    """Have a service whose coordinator may be killed and started again."""
    yield one_frail_service
    one_frail_service.let_all_go()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """Have a client of the shared service."""
    with Client(service.url) as made:
        yield made


@pytest.fixture(params=sorted(FACES))
def face(request: pytest.FixtureRequest) -> MakeFace:
    """Have the client's two faces in turn."""
    return FACES[request.param]


@pytest.fixture
def between() -> Iterator[Callable[..., Between]]:
    """Put something between a client and a service; see ``Between``."""
    made: list[Between] = []

    def put(*arguments: object, **options: object) -> Between:
        made.append(Between(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield put
    for each in made:
        each.close()


@dataclass(frozen=True)
class Ips:
    """Runs the command against a server."""

    server: str

    def __call__(
        self,
        *words: str,
        stdin: bytes | None = None,
        within: float = PATIENCE,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, forked: its imports are most of what a start costs."""
        with TemporaryDirectory() as folder:
            read, said, complained = (Path(folder) / name for name in ("in", "out", "err"))
            read.write_bytes(stdin or b"")
            said.touch()
            complained.touch()
            streams = Streams(str(said), str(complained), str(read))
            program = Forked("ips_client", streams, self.environment(env), words)
            over = program.over()
            if not select.select([over], [], [], within)[0]:
                os.killpg(program.pid, signal.SIGKILL)
            select.select([over], [], [])
            os.close(over)
            return subprocess.CompletedProcess(
                words, program.poll() or 0, said.read_text(), complained.read_text()
            )

    def command(self, *words: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "ips_client", *words]

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """An environment that names the server, and nothing that changes looks."""
        looks = {"NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "LINES"}
        dropped = looks | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key not in dropped and not key.startswith("IPS_") and "PROXY" not in key.upper()
        }
        return {**inherited, "IPS_SERVER": self.server, "TERM": "xterm", **(env or {})}


@pytest.fixture
def ips(service: Service) -> Ips:
    """Have the command, against the shared service."""
    return Ips(service.url)


@pytest.fixture
def image() -> str:
    """Have an image that no node has."""
    return unique("app")
