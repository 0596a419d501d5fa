"""A program: the agents of several nodes in one process, each on a simulated runtime of its own.

``python -m sandbox.chaos.agents NAME…`` with an agent's settings; each has a connection, a spool
and a journal of its own. What a runtime has survives the process, as a container runtime's does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from agent.agent import Agent
from agent.credentials import Keyring
from agent.events import CommandReceived, Event, OutcomeSettled, PullEnded
from agent.instructions import Deliver, Instruction, SendReply
from agent.main import bus_settings
from agent.node_credentials import NodeCredentials
from agent.notices import Notice
from agent.readiness import Readiness
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from agent.spool import Spool, ThreadedSpool
from common.bus import CoreNats
from common.lifecycle import Jobs, Stop, run
from common.messages import Assign, ImageState
from sandbox.chaos.deeds import Deed, DeedKind

_encode = msgspec.json.encode
_HAS = {ImageState.PULLED, ImageState.PRESENT}


class JournalOfDeeds:
    """Writes what one agent takes on and brings to its end, a line each, before it goes on."""

    def __init__(self, node: str, deeds: int, images: Path) -> None:
        """``deeds``: the file descriptor of the journal; ``images``: what the node has."""
        self._node = node
        self._deeds = deeds
        self._images = images

    def handled(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """Note what is of weight."""
        for instruction in instructions:
            match event, instruction:
                case CommandReceived(command=Assign() as work), SendReply(_, reply):
                    if reply.accepted:
                        self._write(DeedKind.ACCEPTED, work.task, work.attempt)
                case _, Deliver(key, outcome):
                    failed = any(image.state not in _HAS for image in outcome.images)
                    kind = DeedKind.FAILED if failed or outcome.reason else DeedKind.DONE
                    self._write(kind, key.task, key.attempt)
        match event:
            case OutcomeSettled(key):
                self._write(DeedKind.SETTLED, key.task, key.attempt)
            case PullEnded(pulled) if pulled.state in _HAS:
                with self._images.open("a") as images:
                    images.write(f"{pulled.image}\n")

    def noticed(self, notice: Notice) -> None:
        """What happens beside the ledger is of no weight here."""

    def _write(self, kind: DeedKind, task: str, attempt: int) -> None:
        os.write(self._deeds, _encode(Deed(self._node, kind, task, attempt)) + b"\n")


async def serve(stop: Stop) -> None:
    """Speak for the nodes until a stop is asked for."""
    with ExitStack() as stack:
        async with Jobs(stop) as jobs:
            for name in sys.argv[1:]:
                await _begin(name, stack, jobs, stop)
            await stop.wait()


async def _begin(name: str, stack: ExitStack, jobs: Jobs, stop: Stop) -> None:
    settings = AgentSettings.load({**os.environ, "IPS_NODE_NAME": name})
    folder = settings.state_dir
    spool = stack.enter_context(Spool(folder / "outcomes", name))
    images = folder / "images"
    deeds = os.open(folder / "deeds", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    stack.callback(os.close, deeds)
    readiness = Readiness(stop)
    bus = await CoreNats.connect(bus_settings(settings), readiness.bus_changed)
    agent = Agent(
        settings=settings,
        bus=bus,
        runtime=SimulatedRuntime(
            seconds=settings.simulated_seconds,
            size=settings.simulated_bytes,
            failure_rate=settings.simulated_failure_rate,
            seed=name,
            present=images.read_text().split() if images.exists() else (),
        ),
        keyring=NodeCredentials(Keyring(None)),
        spool=ThreadedSpool(spool),
        observers=[JournalOfDeeds(name, deeds, images)],
    )
    readiness.agent_started(agent)
    jobs.start(f"bus of {name}", bus.run())
    jobs.start(name, agent.run())


if __name__ == "__main__":
    sys.exit(run(serve))
