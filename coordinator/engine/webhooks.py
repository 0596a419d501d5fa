"""Webhooks: delivered at least once, tried again with back-off for a day, over restarts.

The queue is the heads whose ``notify`` names the webhook; nothing else is remembered. Each
delivery is a job of its own, so that a dead receiver delays neither a task nor another receiver.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from common.bus import BusError
from common.logs import Log
from common.text import Text
from common.texts import TASK_OVER, WEBHOOK_REFUSED
from coordinator.access.receivers import Receivers
from coordinator.core.task import TaskHead
from coordinator.documents import Document, Task, Webhook, encode
from coordinator.engine.webhook_signatures import Signer
from coordinator.faults import Faults
from coordinator.snapshots import Snapshot
from coordinator.views import tasks as views
from coordinator.views.texts import shown, text_of_task
from coordinator.views.times import seconds

log = Log(__name__)

GIVE_UP_SECONDS = 24 * 3600
ANSWER_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
AT_ONCE = 8
"""Requests under way at the same time to one receiver."""

_ADDRESS = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
"""Scheme, authority, path and query; the fragment is never sent."""

Look = Callable[[], Awaitable[Snapshot]]
"""Reads how a task ended. Raises BusError, NoSuchTask."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One thing to tell one receiver."""

    about: Mapping[str, str]
    """Whose it is, for the log."""
    address: str
    id: str
    """The same at each repetition."""
    signed_as: str
    """The same without a full stop, which is the separator of the signatures' scheme."""
    happened_at: float
    """Seconds since 1970; a day later it is given up."""
    look: Callable[[], Awaitable[Document]]
    """Makes what is told, anew for each try. Raises BusError."""


class AddressRefusedError(OSError):
    """A webhook's address must not be reached; the text is the kind of address."""


class GuardedResolver(AbstractResolver):
    """Resolves a name once; what must not be reached is not among the answers.

    Whatever is connected to was looked at here, so that a name cannot be another address by then.
    """

    def __init__(self, inner: AbstractResolver, receivers: Receivers) -> None:
        self._inner = inner
        self._receivers = receivers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses that may be reached. Raises AddressRefusedError where there is none."""
        found = await self._inner.resolve(host, port, family)
        refused = [self._receivers.refusal_of_host(each["host"]) for each in found]
        allowed = [each for each, why in zip(found, refused, strict=True) if why is None]
        if not allowed and found:
            raise AddressRefusedError(refused[0])
        return allowed

    async def close(self) -> None:
        """End what resolves."""
        await self._inner.close()


def new_http_session(
    receivers: Receivers, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """A session in which no receiver waits for another's connections, nor gets its cookies."""
    connector = aiohttp.TCPConnector(
        limit=0,
        use_dns_cache=False,
        resolver=GuardedResolver(resolver or ThreadedResolver(), receivers),
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def as_written(address: str) -> URL:
    """An address of which the path and the query go over the wire byte for byte.

    Signatures are made over these bytes. A URL that is only declared ``encoded`` still loses a
    ``?`` that nothing follows; one whose path holds the query keeps it.
    """
    parts = _ADDRESS.match(address)
    if parts is None:
        raise ValueError("no http or https address")  # not what it is: a secret
    scheme, authority, target = parts.groups()
    path = target if target.startswith("/") else f"/{target}"
    return URL.build(scheme=scheme.lower(), authority=authority, path=path, encoded=True)


class Webhooks:
    """Tells receivers how their tasks ended, and how their sets have turned."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        clock: Callable[[], float],
        rng: random.Random,
        faults: Faults | None = None,
        on_given_up: Callable[[], None] = lambda: None,
        *,
        receivers: Receivers | None = None,
        signer: Signer | None = None,
    ) -> None:
        """``rng`` draws the jitter of the pauses between two tries; ``clock``: since 1970."""
        self._receivers = receivers or Receivers()
        self._signer = signer
        self._on_given_up = on_given_up
        self._http = http
        self._clock = clock
        self._rng = rng
        self._faults = faults or Faults()
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def deliver(self, head: TaskHead, look: Look) -> Text | None:
        """Tell of a task's end, as ``bring`` does. Raises NoSuchTask."""

        async def told() -> Document:
            return self._of_task(await look())

        return await self.bring(
            Parcel(
                about={"task": head.id},
                address=head.spec.webhook_url or "",
                id=f"{head.id}/task.{head.status}",
                signed_as=f"{head.id}_{head.status}",
                happened_at=(head.finished_at or 0) / 1000,
                look=told,
            )
        )

    async def bring(self, parcel: Parcel) -> Text | None:
        """Bring one delivery to its end: taken (2xx), or given up after a day.

        Says why where the address must not be reached, which no repetition mends. What is told is
        looked up anew for each try: a thousand tasks whose receiver is dead for a day must not lie
        in memory for as long.
        """
        number = 0
        while self._clock() < parcel.happened_at + GIVE_UP_SECONDS:
            try:
                failure = await self._try(parcel)
            except AddressRefusedError as refused:
                log.warning("webhook refused", **parcel.about, why=str(refused))
                self._on_given_up()
                return WEBHOOK_REFUSED(kind=str(refused))
            if failure is None:
                break
            number += 1
            pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(number - 1, 10))
            pause *= self._rng.uniform(0.5, 1)
            log.info("webhook not taken", **parcel.about, why=failure, pause=round(pause, 1))
            await asyncio.sleep(pause)
        else:
            log.warning("webhook given up", **parcel.about)
            self._on_given_up()
        return None

    async def _try(self, parcel: Parcel) -> str | None:
        receiver = views.scheme_and_host(parcel.address)
        async with self._places.setdefault(receiver, asyncio.Semaphore(AT_ONCE)):
            try:
                document = await parcel.look()
            except BusError:
                return "the store is away"
            return await self._post(parcel, encode(document))

    def _of_task(self, shot: Snapshot) -> Document:
        try:
            return self._of_task_with(shot, views.task(shot))
        except Exception as fault:  # noqa: BLE001 -- one task's fault: its end is told all the same
            self._faults.note("webhook", fault, task=shot.head.id)
            return self._of_task_with(shot, views.outline(shot))

    @staticmethod
    def _of_task_with(shot: Snapshot, task: Task) -> Document:
        head = shot.head
        said = shown(text_of_task(head) or TASK_OVER(status=head.status))
        return Webhook(
            event=f"task.{head.status}",
            task=task,
            timestamp=seconds(head.finished_at or shot.now),
            message=said.message or "",
            message_code=said.code,
            message_params=said.params,
        )

    async def _post(self, parcel: Parcel, body: bytes) -> str | None:
        """Try once; None if it was taken, otherwise why not (without the address: a secret).

        Raises AddressRefusedError. Of an answer nothing but its status is read.
        """
        headers = {
            "Content-Type": "application/json",
            "IPS-Delivery": parcel.id,
        }
        if self._signer is not None:
            headers |= self._signer.headers(parcel.signed_as, int(self._clock()), body)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            url = as_written(parcel.address)
            refused = self._receivers.refusal_of_host(url.host or "")
            if refused is not None:  # an address is not resolved
                raise AddressRefusedError(refused)
            async with self._http.post(
                url,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                ok = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
                return None if ok else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if isinstance(error.__cause__, AddressRefusedError):  # aiohttp wraps what resolves
                raise error.__cause__ from None
            return type(error).__name__
