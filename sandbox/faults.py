"""What can go wrong in a registry, as switches that a test flips while pulls run.

A scope (the whole registry, a repository, a blob) has one ``Faults``. A switch holds until its
number of times is used up or the scope is healed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from sandbox.answers import Hit
    from sandbox.changes import Changes

    Instead = Callable[[web.Request, Hit], Awaitable[web.StreamResponse | None]]


class Kind(StrEnum):
    """The two things that a registry is asked for; the values are the path's word for it."""

    MANIFEST = "manifests"
    BLOB = "blobs"


class Bandwidth:
    """A token bucket without depth: whoever shares it gets ``bytes_per_second`` together.

    The rate may be changed while transfers run.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._booked_until = 0.0

    async def take(self, count: int) -> None:
        """Wait until ``count`` bytes may travel. Those who wait are served in order."""
        now = asyncio.get_running_loop().time()
        self._booked_until = max(now, self._booked_until) + count / self.bytes_per_second
        await asyncio.sleep(self._booked_until - now)


@dataclass(slots=True, kw_only=True)
class _Counted:
    times: int | None
    """How often it still happens; None is for ever."""

    def take(self) -> bool:
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@dataclass(slots=True, kw_only=True)
class Refusal(_Counted):
    """An answer with an error status in place of a manifest or blob."""

    kind: Kind
    status: int
    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Cut(_Counted):
    """A blob's answer that ends, or hangs, after so many bytes of it."""

    after: int
    hangs: bool
    healed: bool = False


@dataclass
class Faults:
    """Everything that is wrong with one scope. Plain attributes may be set at any time."""

    _changes: Changes
    latency: float = 0.0
    """Seconds before every answer."""
    bandwidth: Bandwidth | None = None
    """What the scope's blobs share; one object may be given to several scopes."""
    corrupt: bool = False
    """Whether the last byte of every blob is wrong: digests do not match, lengths do."""
    instead: Instead | None = None
    """Answers in the registry's place; what it answers with None the registry answers itself."""
    _refusals: list[Refusal] = field(default_factory=list)
    _cuts: list[Cut] = field(default_factory=list)

    def refuse(
        self,
        kind: Kind,
        status: int,
        *,
        times: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Answer the next ``times`` requests (all if None) for manifests or blobs with an error.

        Refusals of one scope are used up in the order in which they were made.
        """
        self._refusals.append(Refusal(times=times, kind=kind, status=status, headers=headers))

    def drop(self, *, after: int, times: int | None = None) -> None:
        """Close the connection after so many bytes of the next ``times`` blob answers."""
        self._cuts.append(Cut(times=times, after=after, hangs=False))

    def stall(self, *, after: int, times: int | None = None) -> None:
        """Send no more after so many bytes of the next ``times`` blob answers, until healed."""
        self._cuts.append(Cut(times=times, after=after, hangs=True))

    def heal(self) -> None:
        """Make everything right again; answers that hang go on."""
        self.latency, self.bandwidth, self.corrupt, self.instead = 0.0, None, False, None
        for cut in self._cuts:
            cut.healed = True
        self._refusals, self._cuts = [], []
        self._changes.announce()

    def next_refusal(self, kind: Kind) -> Refusal | None:
        """Use up one refusal of the kind."""
        return next((r for r in self._refusals if r.kind is kind and r.take()), None)

    def next_cut(self) -> Cut | None:
        """Use up one cut."""
        return next((cut for cut in self._cuts if cut.take()), None)
