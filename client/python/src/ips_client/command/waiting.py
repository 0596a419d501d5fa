"""``ips wait``, and what ``ips run --wait`` and ``ips retry --wait`` do after a create."""

from __future__ import annotations

import asyncio
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ips_client.async_client import AsyncClient
from ips_client.command import codes
from ips_client.command.board import Board
from ips_client.command.connection import as_options, connect, settings
from ips_client.command.ids import whole_id
from ips_client.command.output import show
from ips_client.command.program import report, say, silence
from ips_client.command.set_waiting import PREFIX, wait_sets
from ips_client.command.task_text import failure_table, summary
from ips_client.command.text import count, span
from ips_client.command.views import DRAW_SECONDS, View, view_of
from ips_client.documents import Task
from ips_client.errors import IpsError, TimeLimit
from ips_client.watching import Waited

STREAMS: Final = 20
"""Tasks that are followed at once; the service runs a few at a time anyway."""
FAILURES_SHOWN: Final = 20


@dataclass(frozen=True)
class _End:
    """What waiting for one task came to."""

    task_id: str
    waited: Waited | None = None
    error: IpsError | None = None


def wait(arguments: Namespace) -> int:
    """Wait for tasks and sets."""
    sets = [each.removeprefix(PREFIX) for each in arguments.ids if each.startswith(PREFIX)]
    tasks = [each for each in arguments.ids if not each.startswith(PREFIX)]
    if sets and tasks:
        raise ValueError("wait for tasks and for sets by two commands")
    if sets:
        return wait_sets(arguments, list(dict.fromkeys(sets)))
    with connect(arguments) as client:
        ids = list(dict.fromkeys(whole_id(client, each) for each in tasks))
    return _wait(arguments, ids, names=ids)


def created(arguments: Namespace, tasks: Sequence[Task]) -> int:
    """Tell about new tasks and, if that was asked for, wait for them."""
    ids = [task.task_id for task in tasks]
    lines = [f"{task.task_id} created: {count(len(task.images), 'image')}" for task in tasks]
    if not arguments.wait:
        show(arguments.output, _documents(tasks), names=ids, lines=lines)
        return codes.COMPLETED
    if arguments.output == "name":
        show("name", None, names=ids, lines=())
    elif arguments.output in {"table", "wide"}:
        say(*lines)
    return _wait(arguments, ids, names=())


def _wait(arguments: Namespace, ids: Sequence[str], names: Sequence[str]) -> int:
    board = Board(ids)
    try:
        ends = asyncio.run(_watch_all(arguments, board, view_of(board)))
    except KeyboardInterrupt:
        say(*_way_back(arguments, ids))
        return codes.INTERRUPTED
    tasks = [task for end in ends if (task := _last_seen(end)) is not None]
    lines = [line for end in ends if end.waited for line in _result(end.waited)]
    code = codes.worst([_code(end, arguments) for end in ends])
    try:
        show(arguments.output, _documents(tasks), names=names, lines=lines)
    except BrokenPipeError:  # nobody reads the result, but the exit code still counts
        silence(sys.stdout)
    return code


async def _watch_all(arguments: Namespace, board: Board, view: View) -> list[_End]:
    gate = asyncio.Semaphore(STREAMS)
    now = asyncio.get_running_loop().time
    limit = arguments.timeout
    deadline = None if limit is None else now() + limit

    async def watch(task_id: str) -> _End:
        async with gate:
            left = None if deadline is None else max(0.0, deadline - now())
            return await _watch(client, task_id, left, board)

    async with AsyncClient(**settings(arguments)) as client:
        drawing = asyncio.ensure_future(_draw(view))
        try:
            return await asyncio.gather(*map(watch, board.ids))
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            view.finish()


async def _watch(client: AsyncClient, task_id: str, limit: float | None, board: Board) -> _End:
    try:
        waited = await client.wait(task_id, time_limit=limit, on_progress=board.note)
    except IpsError as error:
        return _End(task_id, error=error)
    return _End(task_id, waited)


async def _draw(view: View) -> None:
    while True:
        try:
            view.refresh()
        except BrokenPipeError:  # nobody looks, but the task is waited for all the same
            silence(sys.stderr)
            return
        await asyncio.sleep(DRAW_SECONDS)


def _last_seen(end: _End) -> Task | None:
    if end.waited is not None:
        return end.waited.task
    return end.error.task if isinstance(end.error, TimeLimit) else None


def _code(end: _End, arguments: Namespace) -> int:
    """The exit code of one task; where waiting came to nothing it is said why."""
    if end.waited is not None:
        return codes.OF_STATUS[end.waited.task.status]
    if isinstance(end.error, TimeLimit):
        say(f"ips: {end.task_id} is not over after {span(arguments.timeout)}; it goes on")
        return codes.TIME_LIMIT
    assert end.error is not None  # noqa: S101 -- an end is either
    return report(end.error, end.task_id)


def _result(waited: Waited) -> list[str]:
    shown = waited.failures[:FAILURES_SHOWN]
    lines = [summary(waited.task), *failure_table(shown)]
    more = len(waited.failures) - len(shown)
    if more:
        lines.append(f"… and {more:,} more: ips show {waited.task.task_id} --failed")
    return lines


def _documents(tasks: Sequence[Task]) -> Any:
    """One task's own document; several as the service lists them."""
    if len(tasks) == 1:
        return tasks[0].document
    return {"tasks": [task.document for task in tasks]}


def _way_back(arguments: Namespace, ids: Sequence[str]) -> list[str]:
    words = shlex.join([*ids, *as_options(arguments)])
    goes = "the task keeps" if len(ids) == 1 else "the tasks keep"
    return [
        f"Detached; {goes} running.",
        f"  watch again:  ips wait {words}",
        f"  cancel:       ips cancel {words}",
    ]
