"""Builds the agent program, runs it, and ends it in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector

from agent.agent import Agent
from agent.credential_helpers import CredentialHelpers
from agent.credential_providers import CredentialProviders
from agent.credentials import Keyring
from agent.health import HealthServer
from agent.journal import Journal
from agent.metrics import Metrics, MetricsObserver, StateCollector
from agent.node_credentials import NodeCredentials
from agent.readiness import Readiness
from agent.runtime.cri import CriRuntime
from agent.runtime.crictl import CrictlRuntime
from agent.runtime.protocol import Runtime
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings, DriverName
from agent.spool import Spool, ThreadedSpool
from common import logs, subjects
from common.bus import BusSettings, CoreNats
from common.join_token import JoinKind, parse_join_token
from common.lifecycle import Jobs, StartupError, Stop, run
from common.undumpable import keep_out_of_dumps

GRACE_SECONDS: Final = 20.0
"""Time to stop in order; Kubernetes gives 30 s."""

T = TypeVar("T")


def main() -> int:
    """Run the agent of this node until it is told to stop; the exit code."""
    return run(serve, grace_seconds=GRACE_SECONDS)


async def serve(stop: Stop) -> None:
    """Build everything, and work until a stop is asked for. Raises StartupError."""
    keep_out_of_dumps()
    settings = AgentSettings.load(os.environ)
    logs.configure(settings.log_level, settings.log_format)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    readiness = Readiness(stop)
    registry.register(StateCollector(readiness.bus_away, readiness.runtime_away))
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(Spool(settings.state_dir / "outcomes", settings.node_name))
        stack.enter_context(HealthServer(settings.metrics_port, registry, readiness.why_not))
        runtime = build_runtime(settings)
        stack.push_async_callback(runtime.close)
        bus = await _unless(stop, CoreNats.connect(bus_settings(settings), readiness.bus_changed))
        if bus is None:
            return
        agent = Agent(
            settings=settings,
            bus=bus,
            runtime=runtime,
            keyring=node_credentials(settings),
            spool=ThreadedSpool(spool),
            observers=[Journal(), MetricsObserver(Metrics(registry))],
        )
        readiness.agent_started(agent)
        async with Jobs(stop) as jobs:
            jobs.start("bus", bus.run())
            jobs.start("agent", agent.run())
            await stop.wait()
            await agent.shut_down(within=stop.remaining())
            await bus.close()


def node_credentials(settings: AgentSettings) -> NodeCredentials:
    """All that the node has for registries. Raises StartupError for half of what providers need."""
    config, folder = settings.credential_provider_config, settings.credential_provider_folder
    if config is not None and folder is None:
        raise StartupError(
            "IPS_CREDENTIAL_PROVIDER_CONFIG needs IPS_CREDENTIAL_PROVIDER_BIN_DIR, "
            "the folder with the providers' programs"
        )
    return NodeCredentials(
        Keyring(settings.registry_config),
        CredentialHelpers(folder),
        CredentialProviders(config, folder),
    )


def build_runtime(settings: AgentSettings) -> Runtime:
    """Choose the driver."""
    match settings.runtime:
        case DriverName.CRI:
            return CriRuntime(settings.runtime_endpoint, installation=settings.installation)
        case DriverName.CRICTL:
            return CrictlRuntime(settings.runtime_endpoint, program=settings.crictl)
        case DriverName.SIMULATED:
            return SimulatedRuntime(
                seconds=settings.simulated_seconds,
                size=settings.simulated_bytes,
                failure_rate=settings.simulated_failure_rate,
                seed=settings.node_name,
                hold=settings.simulated_hold,
            )


def bus_settings(settings: AgentSettings) -> BusSettings:
    """Say how to reach NATS, and as whom. Raises StartupError for a join token of another's."""
    joined = parse_join_token(_token(settings))
    if joined is not None and joined.kind is not JoinKind.NODE:
        raise StartupError(
            f"the join token for NATS is one of kind {joined.kind} ({joined.name}), with which "
            f"nobody can be an agent: make one for node {settings.node_name}"
        )
    if joined is not None and joined.name != settings.node_name:
        raise StartupError(
            f"the join token for NATS is made for node {joined.name}, and this agent is "
            f"that of node {settings.node_name}: set IPS_NODE_NAME, or make one for it"
        )
    return BusSettings(
        servers=settings.nats_servers,
        name=f"ips-agent {settings.node_name}",
        token=settings.nats_token,
        token_file=settings.nats_token_file,
        creds=settings.nats_creds,
        ca=settings.nats_ca,
        inbox=subjects.inboxes_of(settings.node_name),
    )


def _token(settings: AgentSettings) -> str:
    """The token, as far as it can be read: what is wrong with its file the bus says."""
    if settings.nats_token or settings.nats_token_file is None:
        return settings.nats_token or ""
    with suppress(OSError, UnicodeDecodeError):
        return settings.nats_token_file.read_text().strip()
    return ""


async def _unless(stop: Stop, work: Coroutine[Any, Any, T]) -> T | None:
    """Await what may never come; None if the program is to end first."""
    coming, ending = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        ending.cancel()
        await asyncio.gather(coming, ending, return_exceptions=True)
