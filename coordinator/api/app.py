"""The HTTP application: routes, and what stands around them."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from msgspec import UNSET
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from coordinator.api.admission import Admission
from coordinator.api.answers import JSON, SERVER_NAME, json_answer
from coordinator.api.asyncapi import asyncapi_document
from coordinator.api.audit import Audit
from coordinator.api.bodies import ROOM, BodyRoom
from coordinator.api.credential_use import CredentialUse
from coordinator.api.credentials import CredentialRoutes
from coordinator.api.docs_page import docs_page
from coordinator.api.finds import Finds
from coordinator.api.guard import Entrance, Guard
from coordinator.api.images import ImageRoutes
from coordinator.api.nodes import NodeRoutes
from coordinator.api.observation import HttpMetrics, endpoint
from coordinator.api.openapi import openapi_document
from coordinator.api.permissions import API, METRICS, SESSION
from coordinator.api.problems import LIMIT_BYTES, RouteHandler, answer_problems, unavailable
from coordinator.api.purges import PurgeRoutes
from coordinator.api.sessions import CALLBACK, LOGIN, Sessions
from coordinator.api.sets import SetRoutes
from coordinator.api.streams import DEFAULT_PACE, MOST_STREAMS, Pace, Streams
from coordinator.api.tasks import TaskRoutes
from coordinator.api.web_files import FOLDER, HEADERS, WebFiles
from coordinator.credentials.pull_secret import PullSecrets
from coordinator.credentials.table import CredentialTable
from coordinator.event_feed import EventFeed
from coordinator.faults import Faults
from coordinator.health_documents import Health, Leadership, Readiness
from coordinator.port import Engine
from coordinator.views.texts import shown

_READS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ALWAYS_TLS: Final = "max-age=31536000"
"""For a year, of the name that was asked for and none below it."""


def make_app(
    engine: Engine,
    feed: EventFeed,
    registry: CollectorRegistry,
    *,
    faults: Faults | None = None,
    pace: Pace = DEFAULT_PACE,
    body_room: BodyRoom | None = None,
    most_streams: int = MOST_STREAMS,
    web_folder: Path = FOLDER,
    entrance: Entrance | None = None,
    credentials: CredentialTable | None = None,
    pull_secrets: PullSecrets | None = None,
) -> web.Application:
    """Wire the application. Streams end when it shuts down; ``feed.run`` is the caller's to run.

    Without an ``entrance`` nobody is asked who they are. ``credentials.run`` is the caller's, too.
    """
    metrics, gate, faults = HttpMetrics(registry), Gate(engine), faults or Faults()
    entrance = entrance or Entrance.wide_open()
    guard = Guard(entrance)
    app = web.Application(
        # Versions of aiohttp differ about a body of just this size; ours to refuse is one more.
        client_max_size=LIMIT_BYTES + 1,
        middlewares=[metrics.clock_in, answer_problems, guard.check, gate.check],
    )
    app[ROOM] = BodyRoom() if body_room is None else body_room
    finds = Finds(engine)
    credentials = credentials or CredentialTable()
    use = CredentialUse(entrance.keeper, credentials, pull_secrets)
    admission = Admission(engine, entrance.policy, entrance.receivers, use)
    streams = Streams(engine, finds, feed, pace, faults, most=most_streams)
    app.add_routes(_task_routes(TaskRoutes(engine, finds, faults, admission), streams))
    app.add_routes(_set_routes(SetRoutes(engine, faults, admission)))
    app.add_routes(_purge_routes(PurgeRoutes(engine, admission)))
    app.add_routes(_node_routes(NodeRoutes(engine, faults), ImageRoutes(engine, faults)))
    app.add_routes(_session_routes(Sessions(guard, entrance)))
    app.add_routes(_credential_routes(credentials))
    app.add_routes(_page_routes(WebFiles(web_folder)))
    app.add_routes(
        [
            web.get(f"{API}/leader", gate.leader),
            web.get(f"{API}/audit", Audit(entrance.audit).list),
            web.get("/health", _health),
            web.get("/healthz", _health),
            web.get("/readyz", gate.readyz),
            web.get(METRICS, Exposition(registry).get),
            *_document_routes(),
        ]
    )
    app.on_response_prepare.append(metrics.observe)
    app.on_response_prepare.append(_add_headers)

    async def end_streams(_: web.Application) -> None:
        feed.end_all()

    app.on_shutdown.append(end_streams)
    return app


def _page_routes(files: WebFiles) -> list[web.RouteDef]:
    return [
        web.get("/web", _moved("/web/")),
        web.get("/", files.get),
        web.get("/web/{path:.*}", files.get),
    ]


def _document_routes() -> list[web.RouteDef]:
    return [
        web.get("/openapi.json", _openapi),
        web.get("/asyncapi.json", _asyncapi),
        web.get("/docs", _docs),
        web.get("/docs/", _moved("/docs")),
    ]


def _task_routes(tasks: TaskRoutes, streams: Streams) -> list[web.RouteDef]:
    task = f"{API}/tasks/{{id}}"
    return [
        web.post(f"{API}/tasks", tasks.create),
        web.get(f"{API}/tasks", tasks.list),
        web.get(task, tasks.get),
        web.delete(task, tasks.cancel),
        web.post(f"{task}/retry", tasks.retry),
        web.post(f"{task}/pause", tasks.pause),
        web.post(f"{task}/resume", tasks.resume),
        web.get(f"{task}/nodes", tasks.nodes),
        web.get(f"{task}/events", streams.of_task),
        web.get(f"{API}/events", streams.of_all),
    ]


def _set_routes(sets: SetRoutes) -> list[web.RouteDef]:
    one = f"{API}/sets/{{name}}"
    return [
        web.get(f"{API}/sets", sets.list),
        web.get(one, sets.get),
        web.put(one, sets.put),
        web.delete(one, sets.delete),
        web.get(f"{one}/nodes", sets.nodes),
        web.post(f"{one}/refresh", sets.refresh),
    ]


def _purge_routes(purges: PurgeRoutes) -> list[web.RouteDef]:
    return [
        web.post(f"{API}/purges", purges.create),
        web.get(f"{API}/purges/{{id}}", purges.get),
    ]


def _node_routes(nodes: NodeRoutes, images: ImageRoutes) -> list[web.RouteDef]:
    node = f"{API}/nodes/{{name}}"
    return [
        web.get(f"{API}/nodes", nodes.list),
        web.get(node, nodes.get),
        web.get(f"{node}/images", images.on_node),
        web.get(f"{node}/history", images.of_node),
        web.get(f"{API}/images", images.list),
        web.get(f"{API}/images/nodes", images.places),
        web.get(f"{API}/images/history", images.history),
    ]


def _credential_routes(table: CredentialTable) -> list[web.RouteDef]:
    one, routes = f"{API}/credentials/{{name}}", CredentialRoutes(table)
    return [
        web.get(f"{API}/credentials", routes.list),
        web.get(one, routes.get),
        web.put(one, routes.put),
        web.delete(one, routes.delete),
    ]


def _session_routes(sessions: Sessions) -> list[web.RouteDef]:
    return [
        web.get(SESSION, sessions.get),
        web.post(SESSION, sessions.open),
        web.delete(SESSION, sessions.close),
        web.get(LOGIN, sessions.log_in),
        web.get(CALLBACK, sessions.callback),
    ]


class Gate:
    """Answers 503 for whatever the engine cannot do at this moment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @web.middleware
    async def check(self, request: web.Request, handler: RouteHandler) -> web.StreamResponse:
        """The middleware: reads need the state, the rest needs a store that takes writes too."""
        pattern = endpoint(request)
        if pattern.startswith(API) and not pattern.startswith(SESSION):
            reads = request.method in _READS
            why = self._engine.unreadable() if reads else self._engine.not_ready()
            if why is not None:
                raise unavailable(why)
        return await handler(request)

    async def readyz(self, _: web.Request) -> web.Response:
        """``GET /readyz``: whether reads are answered. Writes answer 503 by themselves."""
        why = self._engine.unreadable()
        if why is not None:
            raise unavailable(why)
        standing = self._engine.standing()
        said = shown(standing.no_writes or self._engine.warning())
        return json_answer(
            Readiness(
                leads=standing.leads,
                leader=standing.leader or UNSET,
                nats_connected=standing.nats_connected,
                takes_writes=standing.no_writes is None,
                message=said.message,
                message_code=said.code,
                message_params=said.params,
            )
        )

    async def leader(self, _: web.Request) -> web.Response:
        """``GET /api/v1/leader``: who leads, as far as this coordinator knows."""
        standing = self._engine.standing()
        leader = standing.name if standing.leads else standing.leader
        return json_answer(
            Leadership(coordinator=standing.name, leads=standing.leads, leader=leader or UNSET)
        )


class Exposition:
    """``GET /metrics``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def get(self, _: web.Request) -> web.Response:
        """All metrics, in the text format that every scraper reads."""
        headers = {hdrs.CONTENT_TYPE: CONTENT_TYPE_PLAIN_0_0_4}
        return web.Response(body=generate_latest(self._registry), headers=headers)


async def _health(_: web.Request) -> web.Response:
    """``GET /health``, ``/healthz``: that this is answered is the answer."""
    return json_answer(Health())


async def _openapi(_: web.Request) -> web.Response:
    """``GET /openapi.json``."""
    return web.Response(body=openapi_document(), content_type=JSON)


async def _asyncapi(_: web.Request) -> web.Response:
    """``GET /asyncapi.json``."""
    return web.Response(body=asyncapi_document(), content_type=JSON)


def _moved(path: str) -> RouteHandler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={hdrs.LOCATION: path})

    return answer


async def _docs(_: web.Request) -> web.Response:
    """``GET /docs``."""
    return web.Response(
        body=docs_page(), content_type="text/html", charset="utf-8", headers=HEADERS
    )


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries."""
    response.headers[hdrs.SERVER] = SERVER_NAME
    # Not for this machine's own name: it would hold for whatever else listens here, too.
    if request.secure and request.url.host not in _THIS_MACHINE:
        response.headers.setdefault(hdrs.STRICT_TRANSPORT_SECURITY, _ALWAYS_TLS)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
