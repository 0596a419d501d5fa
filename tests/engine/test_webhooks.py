"""Deliveries in virtual time: tries, pauses, giving up, and who waits for whom."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace
from yarl import URL

from common.bus import StoreUnavailable
from coordinator.core.task import TaskHead
from coordinator.engine.webhooks import AT_ONCE, GIVE_UP_SECONDS, LONGEST_PAUSE_SECONDS, Webhooks
from coordinator.port import NoSuchTask
from coordinator.snapshots import Snapshot
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.stored import TASK, failed, now

SECRET = "https://user:secret@hooks.example/token?sig=secret"
Answer = int | Exception


class Request:
    """One POST: what was sent, and how long it takes until it is answered with what."""

    def __init__(self, url: URL, sent: dict[str, Any], answer: Answer, seconds: float) -> None:
        self.url, self.sent = url, sent
        self.at = now()
        self.status = 0
        self._answer, self._seconds = answer, seconds

    async def __aenter__(self) -> Self:
        """Answer it."""
        await asyncio.sleep(self._seconds)
        if isinstance(self._answer, Exception):
            raise self._answer
        self.status = self._answer
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is left open."""


class Receivers:
    """A session that opens no connection: the answers in turn, the last one for ever."""

    def __init__(self, *answers: Answer, seconds: float = 0.0) -> None:
        self.requests: list[Request] = []
        self.slow_hosts: dict[str, float] = {}
        self._answers: Sequence[Answer] = answers or (200,)
        self._seconds = seconds

    def post(self, url: URL, **sent: Any) -> Request:
        """Take a request."""
        number = min(len(self.requests), len(self._answers) - 1)
        seconds = self.slow_hosts.get(url.host or "", self._seconds)
        request = Request(url, sent, self._answers[number], seconds)
        self.requests.append(request)
        return request

    def webhooks(self) -> Webhooks:
        """What is under test, with these receivers."""
        return Webhooks(cast("aiohttp.ClientSession", self), now, random.Random(1))

    @property
    def pauses(self) -> list[float]:
        """Between one try and the next."""
        times = [request.at for request in self.requests]
        return [after - before for before, after in itertools.pairwise(times)]


def over(address: str = SECRET, task: str = TASK) -> TaskHead:
    """A task that ends now, with a webhook."""
    return replace(failed(task), spec=spec(webhook_url=address), finished_at=int(now() * 1000))


async def deliver(
    receivers: Receivers, head: TaskHead, trouble: Callable[[], None] = lambda: None
) -> None:
    """Bring one delivery to its end; ``trouble`` may raise whenever the end is looked up."""

    async def look() -> Snapshot:
        trouble()
        return Snapshot(head, int(now() * 1000))

    await receivers.webhooks().deliver(head, look)


@virtual
async def test_what_is_taken_is_sent_once() -> None:
    """As JSON, with what lets a receiver know a repeated delivery."""
    receivers = Receivers(204)
    await deliver(receivers, over())
    (request,) = receivers.requests
    body = msgspec.json.decode(request.sent["data"])
    assert (body["event"], body["task"]["taskId"]) == ("task.failed", TASK)
    assert body["task"]["webhookUrl"] == "https://hooks.example"
    assert request.sent["headers"]["IPS-Delivery"] == f"{TASK}/task.failed"
    assert request.sent["headers"]["Content-Type"] == "application/json"
    assert request.url.raw_path_qs == "/token?sig=secret"
    assert request.sent["allow_redirects"] is False


@virtual
async def test_pauses_grow_up_to_five_minutes() -> None:
    """Each is drawn between half of it and all of it, so that a thousand do not come at once."""
    receivers = Receivers(*[500] * 14, 200)
    await deliver(receivers, over())
    most = [min(LONGEST_PAUSE_SECONDS, 2.0**number) for number in range(14)]
    assert len(receivers.pauses) == len(most)
    for pause, longest in zip(receivers.pauses, most, strict=True):
        assert longest / 2 <= pause <= longest
    assert len({pause / longest for pause, longest in zip(receivers.pauses, most, strict=True)}) > 9


@virtual
async def test_nothing_but_2xx_is_taken() -> None:
    """A redirect is not followed, and an error of the connection is one like any other."""
    failures: list[Answer] = [
        199, 301, 302, 404, 410, 500, TimeoutError(),
        aiohttp.ClientConnectionError("gone"), aiohttp.ServerDisconnectedError(), ValueError(),
    ]  # fmt: skip
    receivers = Receivers(*failures, 299)
    await deliver(receivers, over())
    assert len(receivers.requests) == len(failures) + 1


@virtual
async def test_a_dead_receiver_is_given_up_after_a_day() -> None:
    """Not before: the last try is in the last five minutes; and the delivery ends."""
    receivers, head = Receivers(503), over()
    began = now()
    await deliver(receivers, head)
    last = receivers.requests[-1].at - began
    assert GIVE_UP_SECONDS - LONGEST_PAUSE_SECONDS <= last < GIVE_UP_SECONDS
    assert now() - began <= GIVE_UP_SECONDS + LONGEST_PAUSE_SECONDS
    tried = len(receivers.requests)
    await asyncio.sleep(3600)
    assert len(receivers.requests) == tried


@virtual
async def test_a_task_that_ended_more_than_a_day_ago_is_given_up_untried() -> None:
    """The day counts from the task's end, over all leaders."""
    receivers, head = Receivers(), over()
    await asyncio.sleep(GIVE_UP_SECONDS + 1)
    await deliver(receivers, head)
    assert receivers.requests == []


@virtual
async def test_a_store_that_is_away_is_tried_again() -> None:
    """The end is looked up anew for each try, so nothing is sent until it can be."""
    receivers, looks = Receivers(), iter([True, True, False])

    def trouble() -> None:
        if next(looks):
            raise StoreUnavailable("away")

    await deliver(receivers, over(), trouble)
    assert len(receivers.requests) == 1


@virtual
async def test_a_task_that_was_removed_ends_its_delivery() -> None:
    """There is nothing to tell any more."""

    def gone() -> None:
        raise NoSuchTask(TASK)

    receivers = Receivers()
    with pytest.raises(NoSuchTask):
        await deliver(receivers, over(), gone)
    assert receivers.requests == []


@virtual
async def test_a_slow_receiver_delays_no_other_one() -> None:
    """It has eight requests under way at most; another receiver has its own places."""
    receivers = Receivers()
    receivers.slow_hosts = {"slow.example": 9.0}
    webhooks = receivers.webhooks()

    async def bring(address: str, number: int) -> None:
        head = over(address, f"{TASK[:-8]}{number:08x}")

        async def look() -> Snapshot:
            return Snapshot(head, 0)

        await webhooks.deliver(head, look)

    slow = [asyncio.create_task(bring("http://slow.example/x", n)) for n in range(3 * AT_ONCE)]
    await asyncio.sleep(1.0)
    assert len(receivers.requests) == AT_ONCE
    async with asyncio.timeout(0.1):
        await bring("http://quick.example/x", 99)
    await asyncio.sleep(9.0)
    assert len(receivers.requests) == 2 * AT_ONCE + 1
    await asyncio.gather(*slow)
    assert len(receivers.requests) == 3 * AT_ONCE + 1


def test_no_line_of_the_log_holds_an_address(caplog: pytest.LogCaptureFixture) -> None:
    """It is a secret, whatever fails."""
    caplog.set_level(logging.DEBUG, "coordinator.engine.webhooks")

    @virtual
    async def run() -> None:
        error = aiohttp.ClientConnectionError(f"cannot connect to {SECRET}")
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_SECONDS * 2):
                await deliver(Receivers(500, error), over())

    run()
    lines = [record.getMessage() for record in caplog.records]
    assert {"webhook not taken", "webhook given up"} == set(lines)
    assert "secret" not in "".join(str(vars(record)) for record in caplog.records)
