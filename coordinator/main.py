"""The coordinator, put together: folder, HTTP, and the part that needs NATS (``program``)."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from common.lifecycle import Jobs, StartupError, Stop
from common.listening import listen_on
from common.logs import Log, configure
from common.undumpable import keep_out_of_dumps
from coordinator.access_control import access_control
from coordinator.api.app import make_app
from coordinator.api.certificate import CertificateError, ServedCertificate
from coordinator.api.server import make_runner, most_connections
from coordinator.api.streams import MOST_STREAMS
from coordinator.data_dir import DataDir
from coordinator.engine.live import LiveChanges
from coordinator.engine.service import Service
from coordinator.event_feed import EventFeed
from coordinator.faults import Faults
from coordinator.metrics import Metrics, StateCollector
from coordinator.program import Program
from coordinator.settings import CoordinatorSettings

log = Log(__name__)

HAND_OVER_SECONDS = 3.0
"""For a leader that stops; after that the next one has to ask the agents."""
SHUTDOWN_SECONDS = 5.0
"""For requests that are being answered when the program stops."""


async def main(stop: Stop) -> None:
    """Run a coordinator until it is to stop."""
    keep_out_of_dumps()
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
                credentials=access.credentials,
                pull_secrets=access.pull_secrets,
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
