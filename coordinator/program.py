"""The part of the coordinator that needs NATS: its connection, who leads, what it stands on."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import aiohttp

from common import gate_texts, subjects, texts
from common.bus import Bus, BusError, BusSettings, KeyValue, StoreRefused
from common.clock import Clock, elapsed
from common.lifecycle import StartupError
from common.logs import Log
from common.text import Text
from coordinator.access_control import AccessControl
from coordinator.callout.server_settings import USER
from coordinator.core.events import Event
from coordinator.core.scheduler import FIRST_LOOK_SECONDS, Decision, Limits
from coordinator.core.sets.core import SetLimits
from coordinator.data_dir import DataDir
from coordinator.embedded_nats import EmbeddedNats, EmbeddedSettings
from coordinator.engine.leader import Leader, LeaderSettings
from coordinator.engine.persistence import Persistently
from coordinator.engine.replica import Context, Replica
from coordinator.engine.service import Service
from coordinator.engine.store_clock import StoreClock
from coordinator.engine.task_credentials import TaskCredentials
from coordinator.engine.webhook_signatures import Signer
from coordinator.engine.webhooks import Webhooks, new_http_session
from coordinator.event_feed import EventFeed
from coordinator.faults import Faults
from coordinator.gate_support import GateSupport
from coordinator.lease import Lease
from coordinator.metrics import COUNTED, Metrics
from coordinator.nats_access import NatsAccess, nats_access
from coordinator.nats_certificates import Certificates
from coordinator.nats_identities import NatsIdentities
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.source import FailureSink, GateSink, NewSource, NodeSink, NodeSource
from coordinator.settings import CoordinatorSettings, NodeSourceName
from coordinator.streams import definitions

log = Log(__name__)

PING_SECONDS = 2
"""A server that is silent is left after 4 to 6 s: a leader's lease is over by then."""
STORE_AGAIN_SECONDS = 1.0
STORE_FULL = 10047
"""NATS: insufficient storage resources available."""


class Program:
    """The part that needs NATS: started after HTTP, and ended before it."""

    def __init__(
        self,
        settings: CoordinatorSettings,
        folder: DataDir,
        service: Service,
        feed: EventFeed,
        metrics: Metrics,
        faults: Faults,
        access: AccessControl,
    ) -> None:
        self._settings = settings
        self._access = access
        self._folder = folder
        self._service = service
        self._feed = feed
        self._metrics = metrics
        self._faults = faults
        self._gates = GateSupport(_no_gates(settings))

    async def lead(self) -> None:
        """Connect, then lead whenever the lease is held; gives everything back when cancelled."""
        access = await nats_access(self._settings, self._service.say_starting)
        async with self._bus_settings(access) as bus_settings:
            key = access.key
            identities = NatsIdentities(self._settings, key, bus_settings) if key else None
            bus = await Bus.connect(bus_settings, on_state=self._tell_state)
            async with (
                asyncio.TaskGroup() as group,
                new_http_session(self._access.receivers) as http,
            ):
                group.create_task(bus.run())
                group.create_task(access.keep_up())
                if access.ca is not None and key is not None:
                    group.create_task(Certificates(bus_settings, elapsed).run())
                try:
                    if identities is not None:
                        group.create_task(identities.answer(bus))
                    await self._prepare_store(bus)
                    if identities is not None:
                        group.create_task(identities.follow(bus))
                    if self._gates.off is None:
                        group.create_task(self._ask_for_rights())
                    group.create_task(self._feed.run(bus))
                    group.create_task(self._access.entrance.audit.run(bus))
                    group.create_task(self._access.credentials.run(bus))
                    if self._access.stored_keys is not None:
                        bucket = KeyValue(bus, subjects.KEYS_BUCKET)
                        group.create_task(self._access.stored_keys.run(bucket))
                    await self._lead_on(bus, http)
                finally:
                    await self._access.entrance.audit.flush(bus)
                    await bus.close()

    async def _ask_for_rights(self) -> None:
        """Know whether gates work, whether this coordinator leads or not."""
        from coordinator.nodes.gate_rights import GateRights  # noqa: PLC0415 - see _new_source

        await GateRights(self._gates, self._settings.kube_context).run()

    async def _lead_on(self, bus: Bus, http: aiohttp.ClientSession) -> None:
        context = await self._context(bus)
        name = f"{socket.gethostname()}:{self._settings.server_port}"
        lease = Lease(bus, owner=self._folder.owner, name=name)
        settings = self._leader_settings(lease)
        keys = self._access.signing_keys
        webhooks = Webhooks(
            http,
            context.clock,
            context.rng,
            self._faults,
            self._metrics.webhook_given_up,
            receivers=self._access.receivers,
            signer=None if keys is None else Signer(keys),
        )

        def observe(event: Event, decision: Decision) -> None:
            if lease.holder is None:  # else another one counts
                self._metrics.observe(event, decision)

        count = [(observe, COUNTED)]

        # What is stored between two times of leading in one process, nobody else counts.
        def new_replica(has_led: bool) -> Replica:
            return Replica(context, count if has_led else ())

        def new_leader(replica: Replica, epoch: int) -> Leader:
            observers = () if replica.observers else count
            return Leader(
                context, replica, epoch, webhooks, settings, lambda: lease.held, observers
            )

        try:
            await self._service.serve(bus, lease, new_replica, new_leader)
        finally:
            await lease.release()

    async def _context(self, bus: Bus) -> Context:
        settings, rng = self._settings, random.SystemRandom()
        clock = Clock(time.time, elapsed)
        store_clock = StoreClock(bus, clock, time.time, self._metrics.clock_ahead)
        await Persistently(rng)(store_clock.begin)
        self._service.watch_clock(store_clock)
        return Context(
            bus=bus,
            clock=clock,
            store_clock=store_clock,
            rng=rng,
            live=self._service.live,
            new_source=_new_source(settings, self._metrics.poison, keeps_gates=not self._gates.off),
            on_poison=self._metrics.poison,
            on_accepted=self._metrics.accepted,
            faults=self._faults,
            gates=self._gates,
            limits=Limits(
                max_concurrent_tasks=settings.max_concurrent_tasks,
                max_nodes_in_flight=settings.max_nodes_in_flight,
                agent_wait=settings.agent_wait_seconds,
                first_look=_first_look(settings.node_source),
            ),
            task_credentials=TaskCredentials(
                self._access.credentials, self._access.entrance.keeper, self._access.pull_secrets
            ),
            set_limits=SetLimits(settings.max_concurrent_repairs, settings.disk_limit_percent),
            max_pending=settings.max_pending_tasks,
            max_pending_of_user=settings.max_pending_per_user,
            forget_seconds=settings.node_forget_seconds,
        )

    def _leader_settings(self, lease: Lease) -> LeaderSettings:
        settings = self._settings
        return LeaderSettings(
            source=f"/ips/{settings.namespace}",
            retention_seconds=settings.task_retention_hours * 3600,
            confirms=lease.confirms,
            new_failure_sink=_new_failure_sink(settings),
            new_gate_sink=_new_gate_sink(settings, self._gates),
        )

    @asynccontextmanager
    async def _bus_settings(self, access: NatsAccess) -> AsyncIterator[BusSettings]:
        """Where NATS is: the one that the settings name, or one of our own for as long as this."""
        settings = self._settings
        user = USER if access.key else None
        if settings.nats_servers is not None:
            yield BusSettings(
                servers=settings.nats_servers,
                name="ips-coordinator",
                user=user,
                token=access.token,
                token_file=settings.nats_token_file,
                creds=settings.nats_creds,
                ca=access.ca,
                ping_seconds=PING_SECONDS,
                # A cluster that is being set up or upgraded gets these settings at this moment.
                patient=settings.nats_callout_secret is not None,
            )
            return
        self._service.say_starting(texts.NATS_SERVER_LOADING())
        embedded = EmbeddedSettings(
            listen=settings.nats_listen,
            program=settings.nats_server,
            token=access.token,
            token_file=settings.nats_token_file,
            issuer=access.key.issuer if access.key else None,
            certificate=access.certificate,
        )
        server = await EmbeddedNats.start(embedded, self._folder)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.run())
                yield BusSettings(
                    servers=(server.url,),
                    name="ips-coordinator",
                    user=user,
                    token=server.token,
                    ca=access.ca,
                )
                await server.stop()
        finally:
            await server.stop()

    def _tell_state(self, connected: bool, why: str) -> None:
        if not connected:
            self._service.say_starting(texts.NATS_AWAY(why=why))

    async def _prepare_store(self, bus: Bus) -> None:
        """Make or mend streams and buckets; a store that is not there yet is waited for."""
        settings = self._settings
        for config in definitions(
            settings.replicas,
            settings.events_max_bytes,
            int(time.time() * 1000),
            audit_max_bytes=settings.audit_max_bytes,
            audit_days=settings.audit_days,
        ):
            while True:
                try:
                    await bus.ensure_stream(config)
                    break
                except BusError as why:
                    self._service.say_starting(_store_trouble(why))
                    log.warning("the store cannot be prepared yet", stream=config.name, why=why)
                    await asyncio.sleep(STORE_AGAIN_SECONDS)


def _new_source(
    settings: CoordinatorSettings, on_poison: Callable[[str], None], *, keeps_gates: bool
) -> NewSource:
    """Where nodes come from. Raises StartupError where that needs what is not installed."""
    if settings.node_source is NodeSourceName.AGENTS:
        return AnnouncedNodes
    try:
        # Not at the top: who has no Kubernetes does not need the client, nor its 20 MiB.
        from coordinator.nodes.watched import WatchedNodes  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupError(_package_missing("IPS_NODE_SOURCE=kubernetes", error)) from error

    def new(sink: NodeSink) -> NodeSource:
        return WatchedNodes(
            sink,
            context=settings.kube_context,
            selector=settings.node_selector,
            on_poison=on_poison,
            marked=MarkedNodes() if keeps_gates else None,
        )

    return new


def _new_failure_sink(
    settings: CoordinatorSettings,
) -> Callable[[NodeSource], FailureSink] | None:
    """Who tells of failed pulls where a node's admins look; None where nobody does."""
    if settings.node_source is NodeSourceName.AGENTS or not settings.kubernetes_events:
        return None
    from coordinator.nodes.failure_events import FailureEvents  # noqa: PLC0415 - as above

    def new(source: NodeSource) -> FailureSink:
        return FailureEvents(source.uid, settings.kube_context)

    return new


def _new_gate_sink(
    settings: CoordinatorSettings, support: GateSupport
) -> Callable[[MarkedNodes], GateSink] | None:
    """Who writes to Nodes; None where nobody does."""
    if support.off is not None:
        return None
    from coordinator.nodes.gate_writes import GateWrites  # noqa: PLC0415 - as above

    return partial(GateWrites, support=support, context=settings.kube_context)


def _no_gates(settings: CoordinatorSettings) -> Text | None:
    """Why no set can have a gate; None where it can."""
    if not settings.gates:
        return gate_texts.GATES_OFF()
    if settings.node_source is not NodeSourceName.KUBERNETES:
        return gate_texts.GATES_NO_KUBERNETES()
    return None


def _package_missing(setting: str, error: ModuleNotFoundError) -> str:
    return (
        f"{setting} needs the package {error.name}: "
        "pip install 'image-prewarm-service[coordinator,kubernetes]'"
    )


def _first_look(source: NodeSourceName) -> float:
    """Seconds in which nothing is said to match no node: Kubernetes says itself what there is."""
    return math.inf if source is NodeSourceName.KUBERNETES else FIRST_LOOK_SECONDS


def _store_trouble(why: BusError) -> Text:
    if isinstance(why, StoreRefused) and why.code == STORE_FULL:
        return texts.STORE_NO_ROOM(why=why.cause)
    return texts.STORE_NOT_PREPARED(why=why.cause)
