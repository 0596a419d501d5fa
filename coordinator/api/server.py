"""The HTTP server around the application: what of its own it logs."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from coordinator.api.observation import AccessLog

_CLIENTS_FAULTS = (HttpProcessingError, web.RequestPayloadError)


def make_runner(app: web.Application, *, shutdown_timeout: float) -> web.AppRunner:
    """A runner whose log has a line for each request, and none for what is no HTTP.

    ``shutdown_timeout``: seconds for requests that are being answered when it is cleaned up.
    """
    server_log = logging.getLogger(__name__)
    server_log.addFilter(_is_ours)
    return web.AppRunner(
        app,
        access_log_class=AccessLog,
        access_log=server_log,  # aiohttp asks for one; AccessLog has its own
        logger=server_log,
        shutdown_timeout=shutdown_timeout,
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is about us: any stranger can send what aiohttp answers by 400."""
    return record.exc_info is None or not isinstance(record.exc_info[1], _CLIENTS_FAULTS)
