"""The coordinator, put together: folder, HTTP, NATS, lease, terms. Everything is wired here."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from common import subjects, texts
from common.bus import Bus, BusError, BusSettings, KeyValue, StoreRefused
from common.clock import Clock, elapsed
from common.lifecycle import Jobs, StartupError, Stop
from common.listening import listen_on
from common.logs import Log, configure
from common.text import Text
from coordinator.access_control import AccessControl, access_control
from coordinator.api.app import make_app
from coordinator.api.certificate import CertificateError, ServedCertificate
from coordinator.api.server import make_runner, most_connections
from coordinator.api.streams import MOST_STREAMS
from coordinator.callout.server_settings import USER
from coordinator.callout.signing_key import SigningKey
from coordinator.core.events import Event
from coordinator.core.scheduler import FIRST_LOOK_SECONDS, Decision, Limits
from coordinator.core.sets.core import SetLimits
from coordinator.data_dir import DataDir
from coordinator.embedded_nats import EmbeddedNats, EmbeddedSettings
from coordinator.engine.leader import Leader, LeaderSettings
from coordinator.engine.live import LiveChanges
from coordinator.engine.persistence import Persistently
from coordinator.engine.replica import Context, Replica
from coordinator.engine.service import Service
from coordinator.engine.store_clock import StoreClock
from coordinator.engine.webhook_signatures import Signer
from coordinator.engine.webhooks import Webhooks, new_http_session
from coordinator.event_feed import EventFeed
from coordinator.faults import Faults
from coordinator.lease import Lease
from coordinator.metrics import COUNTED, Metrics, StateCollector
from coordinator.nats_identities import NatsIdentities, signing_key
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.nodes.source import FailureSink, NewSource, NodeSource
from coordinator.settings import CoordinatorSettings, NodeSourceName
from coordinator.streams import definitions

log = Log(__name__)

STORE_AGAIN_SECONDS = 1.0
STORE_FULL = 10047
"""NATS: insufficient storage resources available."""
HAND_OVER_SECONDS = 3.0
"""For a leader that stops; after that the next one has to ask the agents."""
SHUTDOWN_SECONDS = 5.0
"""For requests that are being answered when the program stops."""


async def main(stop: Stop) -> None:
    """Run a coordinator until it is to stop."""
    settings = CoordinatorSettings.load(os.environ)
    configure(settings.log_level, settings.log_format)
    _check(settings)
    async with await DataDir.claim(settings.state_dir) as folder:
        service, registry = Service(LiveChanges()), CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(StateCollector(service.state, time.time))
        metrics = Metrics(registry, service.active_tasks)
        feed = EventFeed(metrics.poison)
        faults = Faults(metrics.fault)
        most = most_connections()
        # So that a probe or a create is answered, however many watch.
        streams = min(MOST_STREAMS, most * 3 // 4)
        async with access_control(settings) as access:
            program = Program(settings, folder, service, feed, metrics, faults, access)
            app = make_app(
                service,
                feed,
                registry,
                faults=faults,
                most_streams=streams,
                entrance=access.entrance,
            )
            async with _serving(app, settings, most), Jobs(stop) as jobs:
                jobs.start("leader", program.lead())
                await stop.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(HAND_OVER_SECONDS):
                        await service.hand_over()


def _check(settings: CoordinatorSettings) -> None:
    if settings.worker_image is not None:
        log.warning("WORKER_IMAGE has no meaning: agents pull, no worker pods are made")


def _new_source(settings: CoordinatorSettings, on_poison: Callable[[str], None]) -> NewSource:
    """Where nodes come from. Raises StartupError where that needs what is not installed."""
    if settings.node_source is NodeSourceName.AGENTS:
        return AnnouncedNodes
    try:
        # Not at the top: who has no Kubernetes does not need the client, nor its 20 MiB.
        from coordinator.nodes.watched import WatchedNodes  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupError(_package_missing("IPS_NODE_SOURCE=kubernetes", error)) from error
    return partial(
        WatchedNodes,
        context=settings.kube_context,
        selector=settings.node_selector,
        on_poison=on_poison,
    )


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


async def _nats_token(settings: CoordinatorSettings, say: Callable[[Text], None]) -> str | None:
    """The token for NATS, where it is not in a file. Raises StartupError as ``_new_source``."""
    if settings.nats_token or settings.nats_token_file or settings.nats_token_secret is None:
        return settings.nats_token
    try:
        from coordinator.nats_token import token_of  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise StartupError(_package_missing("IPS_NATS_TOKEN_SECRET", error)) from error
    return await token_of(
        settings.nats_token_secret, settings.namespace, settings.kube_context, say
    )


def _package_missing(setting: str, error: ModuleNotFoundError) -> str:
    return (
        f"{setting} needs the package {error.name}: "
        "pip install 'image-prewarm-service[coordinator,kubernetes]'"
    )


def _first_look(source: NodeSourceName) -> float:
    """Seconds in which nothing is said to match no node: Kubernetes says itself what there is."""
    return math.inf if source is NodeSourceName.KUBERNETES else FIRST_LOOK_SECONDS


@asynccontextmanager
async def _serving(
    app: web.Application, settings: CoordinatorSettings, most: int
) -> AsyncIterator[None]:
    """Answer HTTP from the first moment on: a probe is to hear why the program is not ready."""
    runner = make_runner(app, shutdown_timeout=SHUTDOWN_SECONDS, most=most)
    context = _certificate(settings)
    await runner.setup()
    address, port = settings.listen, settings.server_port
    try:
        try:
            for listener in listen_on(address, port):
                await web.SockSite(runner, listener, ssl_context=context).start()
        except OSError as error:
            raise StartupError(_port_trouble(port, error)) from error
        log.info("serving", address=address, port=runner.addresses[0][1])
        yield
    finally:
        await runner.cleanup()


def _certificate(settings: CoordinatorSettings) -> ssl.SSLContext | None:
    """What the API speaks https with; None for http. Raises StartupError."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise StartupError("IPS_TLS_CERT and IPS_TLS_KEY: one needs the other")
    try:
        return ServedCertificate(settings.tls_cert, settings.tls_key).context
    except CertificateError as why:
        raise StartupError(f"IPS_TLS_CERT and IPS_TLS_KEY: {why}") from why


def _port_trouble(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use ({error.filename}): stop what listens there, or set SERVER_PORT"
        )
    return (
        f"{error.filename} cannot be listened on ({error.strerror}): set SERVER_PORT or IPS_LISTEN"
    )


def _store_trouble(why: BusError) -> Text:
    if isinstance(why, StoreRefused) and why.code == STORE_FULL:
        return texts.STORE_NO_ROOM(why=why.cause)
    return texts.STORE_NOT_PREPARED(why=why.cause)


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

    async def lead(self) -> None:
        """Connect, then lead whenever the lease is held; gives everything back when cancelled."""
        key = signing_key(self._settings)
        async with self._bus_settings(key) as bus_settings:
            identities = NatsIdentities(self._settings, key, bus_settings) if key else None
            bus = await Bus.connect(bus_settings, on_state=self._tell_state)
            async with (
                asyncio.TaskGroup() as group,
                new_http_session(self._access.receivers) as http,
            ):
                group.create_task(bus.run())
                try:
                    if identities is not None:
                        group.create_task(identities.answer(bus))
                    await self._prepare_store(bus)
                    if identities is not None:
                        group.create_task(identities.follow(bus))
                    group.create_task(self._feed.run(bus))
                    group.create_task(self._access.entrance.audit.run(bus))
                    if self._access.stored_keys is not None:
                        bucket = KeyValue(bus, subjects.KEYS_BUCKET)
                        group.create_task(self._access.stored_keys.run(bucket))
                    await self._lead_on(bus, http)
                finally:
                    await self._access.entrance.audit.flush(bus)
                    await bus.close()

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
            new_source=_new_source(settings, self._metrics.poison),
            on_poison=self._metrics.poison,
            on_accepted=self._metrics.accepted,
            faults=self._faults,
            limits=Limits(
                max_concurrent_tasks=settings.max_concurrent_tasks,
                max_nodes_in_flight=settings.max_nodes_in_flight,
                agent_wait=settings.agent_wait_seconds,
                first_look=_first_look(settings.node_source),
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
        )

    @asynccontextmanager
    async def _bus_settings(self, key: SigningKey | None) -> AsyncIterator[BusSettings]:
        """Where NATS is: the one that the settings name, or one of our own for as long as this."""
        settings = self._settings
        token = await _nats_token(settings, self._service.say_starting)
        if settings.nats_servers is not None:
            yield BusSettings(
                servers=settings.nats_servers,
                name="ips-coordinator",
                user=USER if key else None,
                token=token,
                token_file=settings.nats_token_file,
                creds=settings.nats_creds,
                ca=settings.nats_ca,
            )
            return
        self._service.say_starting(texts.NATS_SERVER_LOADING())
        embedded = EmbeddedSettings(
            listen=settings.nats_listen,
            program=settings.nats_server,
            token=token,
            token_file=settings.nats_token_file,
            issuer=key.issuer if key else None,
        )
        server = await EmbeddedNats.start(embedded, self._folder)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.run())
                yield BusSettings(
                    servers=(server.url,),
                    name="ips-coordinator",
                    user=USER if key else None,
                    token=server.token,
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
