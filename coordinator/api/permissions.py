"""What each route demands of its caller. A route that stands in no table here answers nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs

from coordinator.access.callers import Permission, Resource, Verb

API: Final = "/api/v1"
SESSION: Final = f"{API}/session"
METRICS: Final = "/metrics"

PUBLIC: Final = frozenset(
    {
        # The probes, the documents, the shell of the page, and the way to log in.
        "/health",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/asyncapi.json",
        "/docs",
        "/docs/",
        "/",
        "/web",
        "/web/{path}",
        SESSION,
        f"{SESSION}/login",
        f"{SESSION}/callback",
    }
)
"""Patterns of routes that ask nobody who they are."""

READ_AUDIT: Final = Permission(Verb.LIST, Resource.AUDIT)
_TASKS, _NODES, _SETS = Resource.TASKS, Resource.NODES, Resource.SETS
_CREDENTIALS: Final = Resource.CREDENTIALS
PERMISSIONS: Final[Mapping[tuple[str, str], Permission]] = {
    (hdrs.METH_POST, f"{API}/tasks"): Permission(Verb.CREATE, _TASKS),
    (hdrs.METH_GET, f"{API}/tasks"): Permission(Verb.LIST, _TASKS),
    (hdrs.METH_GET, f"{API}/tasks/{{id}}"): Permission(Verb.GET, _TASKS),
    (hdrs.METH_DELETE, f"{API}/tasks/{{id}}"): Permission(Verb.DELETE, _TASKS),
    (hdrs.METH_POST, f"{API}/tasks/{{id}}/retry"): Permission(Verb.CREATE, _TASKS),
    (hdrs.METH_POST, f"{API}/tasks/{{id}}/pause"): Permission(Verb.UPDATE, _TASKS),
    (hdrs.METH_POST, f"{API}/tasks/{{id}}/resume"): Permission(Verb.UPDATE, _TASKS),
    (hdrs.METH_GET, f"{API}/tasks/{{id}}/nodes"): Permission(Verb.GET, _TASKS),
    (hdrs.METH_GET, f"{API}/tasks/{{id}}/events"): Permission(Verb.WATCH, _TASKS),
    (hdrs.METH_GET, f"{API}/events"): Permission(Verb.WATCH, _TASKS),
    (hdrs.METH_GET, f"{API}/sets"): Permission(Verb.LIST, _SETS),
    (hdrs.METH_GET, f"{API}/sets/{{name}}"): Permission(Verb.GET, _SETS),
    (hdrs.METH_PUT, f"{API}/sets/{{name}}"): Permission(Verb.UPDATE, _SETS),
    (hdrs.METH_DELETE, f"{API}/sets/{{name}}"): Permission(Verb.DELETE, _SETS),
    (hdrs.METH_POST, f"{API}/sets/{{name}}/refresh"): Permission(Verb.UPDATE, _SETS),
    (hdrs.METH_GET, f"{API}/sets/{{name}}/nodes"): Permission(Verb.GET, _SETS),
    (hdrs.METH_POST, f"{API}/purges"): Permission(Verb.DELETE, Resource.IMAGES),
    (hdrs.METH_GET, f"{API}/purges/{{id}}"): Permission(Verb.GET, _NODES),
    (hdrs.METH_GET, f"{API}/nodes"): Permission(Verb.LIST, _NODES),
    (hdrs.METH_GET, f"{API}/nodes/{{name}}"): Permission(Verb.GET, _NODES),
    (hdrs.METH_GET, f"{API}/nodes/{{name}}/images"): Permission(Verb.GET, _NODES),
    (hdrs.METH_GET, f"{API}/nodes/{{name}}/history"): Permission(Verb.LIST, _TASKS),
    (hdrs.METH_GET, f"{API}/images"): Permission(Verb.LIST, _TASKS),
    (hdrs.METH_GET, f"{API}/images/nodes"): Permission(Verb.LIST, _TASKS),
    (hdrs.METH_GET, f"{API}/images/history"): Permission(Verb.LIST, _TASKS),
    (hdrs.METH_GET, f"{API}/leader"): Permission(Verb.LIST, _NODES),
    (hdrs.METH_GET, f"{API}/credentials"): Permission(Verb.LIST, _CREDENTIALS),
    (hdrs.METH_GET, f"{API}/credentials/{{name}}"): Permission(Verb.GET, _CREDENTIALS),
    (hdrs.METH_PUT, f"{API}/credentials/{{name}}"): Permission(Verb.UPDATE, _CREDENTIALS),
    (hdrs.METH_DELETE, f"{API}/credentials/{{name}}"): Permission(Verb.DELETE, _CREDENTIALS),
    (hdrs.METH_GET, f"{API}/audit"): READ_AUDIT,
    (hdrs.METH_GET, METRICS): Permission(Verb.GET, Resource.METRICS),
}
"""By method and pattern; HEAD demands what GET does."""

LIVE_NODES: Final = Permission(Verb.WATCH, _NODES)
"""What the live frames of all nodes demand besides."""
PURGE: Final = Permission(Verb.DELETE, Resource.IMAGES)
"""What taking images off nodes demands, also beside something else."""
SET_EVENTS: Final = Permission(Verb.WATCH, _SETS)
"""What the events of sets demand besides."""


def permission_of(method: str, pattern: str) -> Permission | None:
    """What a route demands; None for nothing. Raises LookupError for a route that nobody knows."""
    if pattern in PUBLIC:
        return None
    return PERMISSIONS[hdrs.METH_GET if method == hdrs.METH_HEAD else method, pattern]
