"""Who leads: one key with a time to live, kept alive by whoever holds it.

Decisions: one leader holds a lease. Its holder renews it every second by compare-and-swap and stops
believing in it 4 s after it last began a renewal that worked: before the store lets it end (6 s),
whatever the store, the network or this process's own pauses did. Never trust it alone: its revision
is the epoch of every command, and agents refuse an older one.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from common import subjects
from common.bus import BusError, Conflict, KeyValue
from common.clock import elapsed
from common.logs import Log
from common.messages import NOT_DECODABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.bus import Entry, RecordStore

log = Log(__name__)

KEY = "leader"


class Claim(msgspec.Struct, frozen=True):
    """What the key says of its holder."""

    owner: Annotated[str, Meta(max_length=256)]
    """Who it is over all its restarts (``DataDir.owner``)."""
    process: Annotated[str, Meta(max_length=256)]
    """Random for each process."""
    name: Annotated[str, Meta(max_length=256)]
    """For people."""


@dataclass(frozen=True, kw_only=True)
class LeaseTimes:
    """Seconds. ``ttl`` is whole, and longer than ``fence`` by more than one answer takes."""

    ttl: int = 6
    fence: float = 4.0
    renew: float = 1.0
    answer: float = 1.5
    retry: float = 0.3
    ask: float = 0.5
    """How often a standby looks: the store tells nobody when a key expires."""


ASK_SECONDS = 10.0
"""Between two looks at the record for an agent's sake."""
ANEW_SECONDS = 300.0
"""Between two new terms for an agent's sake, where nobody else holds the lease."""


class LeaseLost(Exception):  # noqa: N818 -- named by what happened
    """Somebody else holds it, or nobody."""


class Lease:
    """The wish to lead. ``acquire``, then ``lost``, then again; ``release`` at the end.

    ``owner`` must not be shared by two live processes: hold the lock of the data directory.
    ``clock`` counts seconds, also those in which the machine sleeps; ``rng`` draws pauses and
    this process's own mark, so that a run can be repeated.
    """

    def __init__(
        self,
        bus: RecordStore,
        *,
        owner: str,
        name: str,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = elapsed,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        """For people."""
        self.holder: str | None = None
        """The name of who leads; None while it is this one, or while it is not known."""
        self._bucket = KeyValue(bus, subjects.LEASE_BUCKET)
        self._clock = clock
        self._random = rng or random.SystemRandom()
        process = f"{self._random.getrandbits(64):016x}"
        self._claim = Claim(owner=owner, process=process, name=name)
        self._value = msgspec.json.encode(self._claim)
        self._times = times or LeaseTimes()
        self._revision = 0
        self._renewing = asyncio.Lock()
        self._rests = False
        self._watched = (0, 0.0)
        """Another one's revision, and since when it has not changed, by ``clock``."""
        self._held_since = -float("inf")
        """When the renewal that is known to have worked was begun, by ``clock``."""
        self._asked_at = -float("inf")
        """When the record was last looked at for an agent's sake, by ``clock``."""
        self._yielded_at = -float("inf")
        """When an agent was last believed although nobody else holds the lease."""

    @property
    def held(self) -> bool:
        """Whether this process may act as the leader at this moment."""
        return self._clock() - self._held_since < self._times.fence

    async def acquire(self) -> int:
        """Wait until this one leads; the epoch, which grows with each change of leader.

        Its own claim from before a restart is taken over at once. A store that is away is waited
        for.
        """
        while True:
            began = self._clock()
            try:
                async with asyncio.timeout(self._times.answer):
                    revision = await self._try()
            except (BusError, TimeoutError) as error:
                log.debug("the lease cannot be asked for", why=str(error))
            else:
                if revision is not None:
                    self.holder, self._revision, self._held_since = None, revision, began
                    return revision
            await asyncio.sleep(self._times.ask * self._random.uniform(0.75, 1.25))

    async def _try(self) -> int | None:
        """Take it if it is free or ours; otherwise learn who leads."""
        entry = await self._bucket.get(KEY)
        try:
            if entry is None:
                return await self._bucket.create(KEY, self._value, ttl=self._times.ttl)
            claim = _read(entry)
            if claim.owner == self._claim.owner or self._has_ended(entry.revision):
                return await self._renew(entry.revision)
        except Conflict:
            return None  # another one was faster; its name is learnt the next time
        if claim.name != self.holder:
            log.info("another coordinator leads", holder=claim.name)
        self.holder = claim.name
        return None

    def _has_ended(self, revision: int) -> bool:
        """Whether another one's claim was not renewed for longer than it may live.

        The store ends it by its wall clock, which may have been set back by days. Its holder has
        stopped to believe in it long before, whatever any wall clock shows.
        """
        now = self._clock()
        if self._watched[0] != revision:
            self._watched = revision, now
        return now - self._watched[1] > self._times.ttl + self._times.answer

    async def confirms(self, epoch: int) -> bool:
        """Whether an agent that names a newer epoch is to be believed: the store's record decides.

        It is where another one holds the lease, or nobody. Where this process does, nobody has led
        since; an epoch that the store has passed meanwhile is overtaken by a new term, once in
        five minutes, so that whoever was lied to hears a leader again. One that it has never
        given is a lie. The record is looked at once in ten seconds.
        """
        now = self._clock()
        if now - self._asked_at < ASK_SECONDS:
            return False
        self._asked_at = now
        try:
            async with asyncio.timeout(self._times.answer):
                entry = await self._bucket.get(KEY)
        except (BusError, TimeoutError):
            return False  # a renewal that does not work says more
        if entry is None or _read(entry).process != self._claim.process:
            return True
        if epoch > entry.revision or now - self._yielded_at < ANEW_SECONDS:
            return False
        self._yielded_at = now
        return True

    async def lost(self) -> None:
        """Keep it alive; return when it is lost: this one leads only while this is awaited.

        Returns within ``fence`` seconds of the last renewal that worked, at once when another one
        holds it.
        """
        try:
            while True:
                await asyncio.sleep(self._times.renew)
                async with self._renewing:
                    if not self._rests:
                        await self._keep()
        except LeaseLost as why:
            self._held_since = -float("inf")
            log.warning("the lease is lost", why=str(why))

    async def _keep(self) -> None:
        """Renew once, trying again until it works. Raises LeaseLost."""
        fence = self._held_since + self._times.fence
        while True:
            began = self._clock()
            if began >= fence:
                raise LeaseLost(f"no renewal has worked for {self._times.fence:g} s")
            try:
                async with asyncio.timeout(min(self._times.answer, fence - began)):
                    self._revision = await self._renew(self._revision)
            except Conflict:
                await self._look(fence)
            except (BusError, TimeoutError) as error:
                log.info("the lease is not renewed yet", why=str(error) or "no answer")
                await asyncio.sleep(max(0.0, min(self._times.retry, fence - self._clock())))
            else:
                self._held_since = began
                return

    async def _look(self, fence: float) -> None:
        """Find out who was faster: a renewal of our own that was not answered, or another one."""
        try:
            async with asyncio.timeout(min(self._times.answer, fence - self._clock())):
                entry = await self._bucket.get(KEY)
        except (BusError, TimeoutError):
            return
        if entry is None:
            raise LeaseLost("it has ended")
        claim = _read(entry)
        if claim.process != self._claim.process:
            self.holder = claim.name
            raise LeaseLost(f"{claim.name} holds it")
        self._revision = entry.revision

    async def _renew(self, revision: int) -> int:
        return await self._bucket.update(KEY, self._value, revision, ttl=self._times.ttl)

    async def rest(self) -> int:
        """Renew it no more, since it is about to be given back; the revision that it has now."""
        async with self._renewing:
            self._rests = True
            return self._revision

    async def release(self) -> None:
        """Give it back, so that another one leads at once; without effect if it is not ours."""
        self._held_since = -float("inf")
        try:
            async with asyncio.timeout(self._times.answer):
                await self._give_back()
        except (BusError, TimeoutError) as error:
            log.info("the lease is left to end by itself", why=str(error) or "no answer")

    async def _give_back(self) -> None:
        while True:
            entry = await self._bucket.get(KEY)
            if entry is None or _read(entry).process != self._claim.process:
                return
            with suppress(Conflict):  # a last renewal of our own may still have come between
                await self._bucket.delete(KEY, entry.revision)
                return


def _read(entry: Entry) -> Claim:
    """Read the key's value; one that nobody understands is held by somebody unknown."""
    try:
        return msgspec.json.decode(entry.value or b"", type=Claim)
    except NOT_DECODABLE:
        return Claim(owner="", process="", name="an unknown coordinator")
