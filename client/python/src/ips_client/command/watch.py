"""``-w``: shows something again whenever an event says that it may have changed.

On a terminal the screen is drawn anew; elsewhere lines are written that were not there before, or a
document whenever it is another one.
"""

from __future__ import annotations

import asyncio
import io
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from typing import Final

from ips_client.async_client import AsyncClient
from ips_client.command import codes
from ips_client.command.connection import settings

PAUSE: Final = 1.0
"""Seconds between two looks, at least."""
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


def watch(
    arguments: Namespace, show_once: Callable[[], int], task_id: str | None = None, *, live: bool
) -> int:
    """Show at once, and after events of a task (until it is over) or of all (until Ctrl-C).

    ``live``: also after frames that tell of nodes.
    """
    return asyncio.run(_watch(arguments, _Shown(show_once, arguments.output), task_id, live=live))


async def _watch(arguments: Namespace, shown: _Shown, task_id: str | None, *, live: bool) -> int:
    news = asyncio.Event()
    news.set()
    async with AsyncClient(**settings(arguments)) as client:
        hearing = asyncio.ensure_future(_hear(client, news, task_id, live=live))
        try:
            while not hearing.done():
                news.clear()
                code = await asyncio.to_thread(shown.again)
                if code != codes.COMPLETED:
                    return code
                waiting = asyncio.ensure_future(news.wait())
                await asyncio.wait({waiting, hearing}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                await asyncio.sleep(PAUSE)
            hearing.result()  # raises what ended it
            return await asyncio.to_thread(shown.again)
        finally:
            hearing.cancel()
            with suppress(asyncio.CancelledError):
                await hearing


async def _hear(
    client: AsyncClient, news: asyncio.Event, task_id: str | None, *, live: bool
) -> None:
    async for _ in client.events(task_id, live=live):
        news.set()


class _Shown:
    """What was shown last."""

    def __init__(self, show_once: Callable[[], int], output: str) -> None:
        self._show_once = show_once
        self._is_listed = output in {"table", "wide", "name", "csv"}
        self._lines: set[str] = set()
        self._text = ""

    def again(self) -> int:
        """Show what is so now."""
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
            return self._show_once()
        held = io.StringIO()
        with redirect_stdout(held):
            code = self._show_once()
        text = held.getvalue()
        if self._is_listed:
            lines = text.splitlines(keepends=True)
            sys.stdout.write("".join(line for line in lines if line not in self._lines))
            self._lines = set(lines)
        elif text != self._text:
            sys.stdout.write(text)
        self._text = text
        sys.stdout.flush()
        return code
