"""Waiting for one task: by its stream, by asking where the stream does not come through.

The stream is never trusted alone. Whenever it has brought nothing new for a while, the task is
asked for; two answers with news that the stream did not bring mean that something holds it back (a
proxy that buffers), and from then on asking is all that is done. A server that is away is waited
for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ips_client import answers, requests
from ips_client.documents import FailedImage, Task, TaskNode
from ips_client.errors import (
    IpsError,
    ServerUnreachable,
    TimeLimit,
    Unavailable,
    UnexpectedAnswer,
)
from ips_client.events import SILENCE_SECONDS, Subscription
from ips_client.paging import fetch_page
from ips_client.picture import NodesAtWork, Picture, Progress
from ips_client.retrying import Retries, ask_once, unreachable
from ips_client.server import Session
from ips_client.service import task_nodes_at, typed
from ips_client.talk import Emit, LinkFailure, Pause, Silence, Stream, Talk, clock, read

OPEN_SECONDS: Final = 3.0
"""A stream that has not begun by then may be held back."""
ASK_SECONDS: Final = 3.0
"""Between two questions where the stream does not come through."""
QUIET_SECONDS: Final = 2.0
"""After so long without news the task is asked for; each answer without news doubles it."""
LONGEST_QUIET_SECONDS: Final = 30.0
LATE_LIMIT: Final = 2
"""So many answers with news that the stream had not brought: it is being held back."""


@dataclass(frozen=True)
class Waited:
    """A task that is over."""

    task: Task
    failures: tuple[FailedImage, ...] = ()
    """Every failed image of every node that was given up, with the reason."""

    @property
    def completed(self) -> bool:
        """Whether the task came to a good end."""
        return self.task.status == "completed"


def watch(session: Session, task_id: str, time_limit: float | None = None) -> Talk[Waited]:
    """Emit ``Progress`` whenever there is news, until the task is over.

    Raises TimeLimit after ``time_limit`` seconds, ServerUnreachable or Unavailable when the server
    is away for longer than the session's ``follow_patience`` (``patience`` for the first answer),
    and NotFound.
    """
    return (yield from _Watch(session, task_id, time_limit).run())


class _Quiet:
    """How long a stream may bring nothing until the task is asked for."""

    def __init__(self, now: float) -> None:
        self.news(now)

    def left(self, now: float) -> float:
        return max(0.0, self._since + self._seconds - now)

    def news(self, now: float) -> None:
        self._since, self._seconds = now, QUIET_SECONDS

    def no_news(self, now: float) -> None:
        self._since, self._seconds = now, min(2 * self._seconds, LONGEST_QUIET_SECONDS)


class _Watch:
    def __init__(self, session: Session, task_id: str, time_limit: float | None) -> None:
        self._session = session
        self._id = task_id
        self._limit = time_limit
        self._deadline = float("inf")
        self._picture = Picture()
        self._trouble: IpsError | None = None
        self._retries = Retries(session.patience)
        self._subscription = Subscription(task_id, live=True)
        self._late = 0

    # ── the whole course ──

    def run(self) -> Talk[Waited]:
        if self._limit is not None:
            self._deadline = (yield from clock()) + self._limit
        while self._picture.task is None:
            yield from self._insist(self._ask())
        self._retries = Retries(self._session.follow_patience)
        while not self._picture.is_over:
            if self._late < LATE_LIMIT:
                yield from self._insist(self._follow())
            else:
                yield from self._pause(ASK_SECONDS)
                yield from self._insist(self._ask())
        return (yield from self._result(self._picture.task))

    def _insist(self, talk: Talk[Any]) -> Talk[None]:
        """Carry on a conversation; where the server is away, say so and wait a moment."""
        try:
            yield from talk
        except LinkFailure as failure:
            yield from self._wait_for_server(unreachable(self._session, failure))
        except (ServerUnreachable, Unavailable) as error:
            yield from self._wait_for_server(error)

    def _wait_for_server(self, error: IpsError) -> Talk[None]:
        delay = self._retries.delay(error, (yield from clock()))
        self._trouble = error
        self._picture.nodes.clear()
        yield from self._tell()
        yield from self._pause(delay)

    def _pause(self, seconds: float) -> Talk[None]:
        yield Pause((yield from self._within(seconds)))

    def _within(self, seconds: float) -> Talk[float]:
        """So many seconds, or what is left of the time limit. Raises TimeLimit at its end."""
        left = self._deadline - (yield from clock())
        if left <= 0:
            raise TimeLimit(self._limit or 0.0, self._picture.task)
        return min(seconds, left)

    def _tell(self) -> Talk[None]:
        if self._picture.task is not None:
            nodes = NodesAtWork(self._picture.nodes.copy())
            yield Emit(Progress(self._picture.task, nodes, self._trouble))

    # ── asking ──

    def _ask(self) -> Talk[bool]:
        """Ask for the task; whether there was news."""
        within = yield from self._within(self._session.timeout)
        answer = yield from ask_once(self._session, requests.get_task(self._id), within)
        has_news = self._picture.take_task(typed(answer.url, Task, answers.document(answer)))
        yield from self._heard(has_news=has_news)
        return has_news

    def _heard(self, *, has_news: bool) -> Talk[None]:
        """The server is there."""
        self._retries.succeed()
        if has_news or self._trouble:
            self._trouble = None
            yield from self._tell()

    # ── the stream ──

    def _follow(self) -> Talk[None]:
        """One connection, until it ends, is given up, or the task is over."""
        try:
            stream = yield from self._subscription.open((yield from self._within(OPEN_SECONDS)))
        except Silence:
            self._late = self._late + 1 if (yield from self._ask()) else 0
            return
        if stream is None:  # nothing is left to come; whatever that means, asking will tell
            self._late = LATE_LIMIT
            yield from self._ask()
            return
        try:
            yield from self._read(stream)
        finally:
            stream.close()

    def _read(self, stream: Stream) -> Talk[None]:
        heard = yield from clock()
        quiet = _Quiet(heard)
        while not self._picture.is_over and self._late < LATE_LIMIT:
            within = yield from self._within(quiet.left((yield from clock())))
            data = yield from read(stream, within)
            now = yield from clock()
            if data:
                heard = now
                yield from self._take(data, quiet, now)
            elif data is not None:
                raise LinkFailure("the stream ended")
            elif now - heard > SILENCE_SECONDS:
                raise Silence(f"nothing for {SILENCE_SECONDS:g} s")
            else:
                yield from self._ask_beside(quiet, now)

    def _take(self, data: bytes, quiet: _Quiet, now: float) -> Talk[None]:
        try:
            has_news = self._picture.take_frames(self._subscription.frames(data))
        except (ValueError, KeyError, TypeError, RecursionError) as why:
            url = self._session.server.url
            raise UnexpectedAnswer(f"{url} sent an event that is not as agreed: {why}") from None
        if has_news:
            self._late = 0
            quiet.news(now)
        yield from self._heard(has_news=has_news)

    def _ask_beside(self, quiet: _Quiet, now: float) -> Talk[None]:
        if (yield from self._ask()):
            self._late += 1
            quiet.news(now)
        else:
            self._late = 0
            quiet.no_news(now)

    # ── the end ──

    def _result(self, task: Task) -> Talk[Waited]:
        failures = list(task.failed_node_details)
        if task.failed_node_details_total > len(failures):
            failures = yield from self._all_failures()
        return Waited(task, tuple(failures))

    def _all_failures(self) -> Talk[list[FailedImage]]:
        request_at = partial(task_nodes_at, self._id, ["failed"])
        failures: list[FailedImage] = []
        offset: int | None = 0
        while offset is not None:
            page = yield from fetch_page(self._session, request_at, "nodes", offset)
            for node in page.items:
                failures.extend(typed(self._id, TaskNode, node).failures())
            offset = page.next_offset
        return failures
