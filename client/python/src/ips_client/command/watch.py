"""``-w``: shows something again whenever an event says that it may have changed.

On a terminal the picture is drawn over the one before; elsewhere rows are written that were not
there before, or a document whenever it is another one.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from typing import Final, TextIO

from ips_client.async_client import AsyncClient
from ips_client.command import codes
from ips_client.command.connection import settings

PAUSE: Final = 1.0
"""Seconds between two looks, at least."""
_HOME: Final = "\x1b[H"
_ERASE_REST: Final = "\x1b[K"
_ERASE_BELOW: Final = "\x1b[J"
_END: Final = "\n"
_LISTED: Final = frozenset({"table", "wide", "name", "csv"})
_BETWEEN: Final = re.compile(" {2,}")
"""What stands between two columns."""
Cells = tuple[str, ...]
"""A row as it is compared."""


def watch(
    arguments: Namespace, show_once: Callable[[], int], task_id: str | None = None, *, live: bool
) -> int:
    """Show at once, and after events of a task (until it is over) or of all (until Ctrl-C).

    ``live``: also after frames that tell of nodes.
    """
    return asyncio.run(_watch(arguments, Shown(show_once, arguments.output), task_id, live=live))


async def _watch(arguments: Namespace, shown: Shown, task_id: str | None, *, live: bool) -> int:
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


class Shown:
    """What was shown last, by a function that writes it to standard output."""

    def __init__(self, show_once: Callable[[], int], output: str) -> None:
        self._show_once = show_once
        self._output = output
        self._rows: set[Cells] = set()
        self._text = ""

    def again(self) -> int:
        """Show what is so now; where that cannot be found out, what was shown stays."""
        held = _Held(sys.stdout)
        with redirect_stdout(held):
            code = self._show_once()
        text = held.getvalue()
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            sys.stdout.write(_drawn(text))
        elif self._output in _LISTED:
            self._write_new(text)
        elif text != self._text:
            sys.stdout.write(text)
        self._text = text
        sys.stdout.flush()
        return code

    def _write_new(self, text: str) -> None:
        lines = text.split("\n")[:-1]
        rows = _without_age([_cells(line, self._output) for line in lines])
        fresh = (line for line, row in zip(lines, rows, strict=True) if row not in self._rows)
        sys.stdout.write("".join(f"{line}\n" for line in fresh))
        self._rows = set(rows)


class _Held(io.StringIO):
    """Collects what is shown, in the form that suits where it will go."""

    def __init__(self, goes_to: TextIO) -> None:
        super().__init__()
        self._goes_to = goes_to

    def isatty(self) -> bool:
        return self._goes_to.isatty()

    def fileno(self) -> int:
        return self._goes_to.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # nobody writes it
        return self._goes_to.encoding


def _drawn(text: str) -> str:
    """A picture over the one before; what was on the terminal before both can be scrolled to."""
    return f"{_HOME}{text.replace(_END, _ERASE_REST + _END)}{_ERASE_BELOW}"


def _cells(line: str, output: str) -> Cells:
    return tuple(next(csv.reader([line]), ()) if output == "csv" else _BETWEEN.split(line))


def _without_age(rows: list[Cells]) -> list[Cells]:
    """Rows as they are compared: an age is another one each second, and no news."""
    if not rows or "AGE" not in rows[0]:
        return rows
    age = rows[0].index("AGE")
    return [row[:age] + row[age + 1 :] for row in rows]
