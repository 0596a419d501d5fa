"""The driver ``simulated``: pulls nothing, takes its time about it, and says so.

For demonstrations and load tests: thousands of them run in one process. Everything is decided by
the seed and by how often an image was asked for, so that a run can be repeated exactly. One rule
for references: an image of a repository ``…/fails/<reason>`` fails for that reason, written
``image-not-found``, ``rate-limited`` and so on.

What must last for as long as somebody looks is held: a pull that begins while a file exists stands
still at its half until the file is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from agent.runtime.node import node_platform
from agent.runtime.protocol import Bytes, PresentImage, PullFailed, RuntimeFacts, StoredImage
from common.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.runtime.protocol import Credentials, OnBytes

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REASONS = {_WORD.sub("-", reason).lower(): reason for reason in Reason} | {
    "tls-error": Reason.TLS_ERROR
}
_ORDERED = re.compile(r".*/fails/(?P<reason>[a-z-]+)(?:[:@].*)?")
_TAG = re.compile(r":[^:/]+$")
_FAILS_AT = 0.5
"""The part of a pull after which it fails, if it is to fail."""
_HELD_AT = 0.5
"""The part of a pull that it does not get past while it is held."""
_LOOK_SECONDS = 0.05
"""Time between two looks at whether it is held still."""


class SimulatedRuntime:
    """A runtime that has no images and a registry that has them all.

    A pull takes ``seconds`` and brings ``size`` bytes; ``failure_rate``, between 0 and 1, is the
    part of all pulls that fails half-way with ``RegistryError``. ``progress_seconds`` is the time
    between two reports of bytes. A pull that begins while the file ``hold`` exists stands still at
    its half until the file is gone. ``present`` are the references that are there from the start.
    """

    driver = "simulated"
    sees_bytes = True
    resumes = True

    def __init__(
        self,
        *,
        seconds: float = 2.0,
        size: int = 50_000_000,
        failure_rate: float = 0.0,
        seed: str = "",
        progress_seconds: float = 1.0,
        hold: Path | None = None,
        present: Iterable[str] = (),
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._failure_rate = failure_rate
        self._seed = seed
        self._progress_seconds = progress_seconds
        self._hold = hold
        self._present: set[str] = set(present)
        self.used: set[str] = set()
        """References that containers have."""
        self._watchers: list[Callable[[], None]] = []
        self._pulls: Counter[str] = Counter()
        self._done: dict[str, float] = {}
        """Of each interrupted pull, by its resume key: the part that it has brought."""

    async def facts(self) -> RuntimeFacts:
        """Say what it is."""
        return RuntimeFacts(self.driver, node_platform())

    async def find(self, reference: str) -> PresentImage | None:
        """Look an image up among those that were pulled."""
        return self._image(reference) if reference in self._present else None

    async def list_images(self) -> Sequence[StoredImage]:
        """Say what was pulled and not removed; each name is an image of its own."""
        return [self._stored(reference) for reference in sorted(self._present)]

    def _stored(self, reference: str) -> StoredImage:
        image, (name, at, _) = self._image(reference), reference.partition("@")
        repository = name if at else _TAG.sub("", reference)
        return StoredImage(
            id=f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}",
            tags=() if at else (reference,),
            digests=(f"{repository}@{image.digest}",),
            size=image.size,
        )

    async def used_images(self) -> frozenset[str]:
        """Say what containers would have."""
        return frozenset(self.used)

    async def remove_image(self, image_id: str) -> None:
        """Let an image be gone; see the protocol."""
        for reference in [r for r in self._present if self._stored(r).id == image_id]:
            self._present.discard(reference)

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """Tell of what is pulled and removed; without end."""
        self._watchers.append(on_change)
        try:
            await asyncio.Future()
        finally:
            self._watchers.remove(on_change)

    @property
    def present(self) -> frozenset[str]:
        """The references that were pulled and not removed."""
        return frozenset(self._present)

    def remove(self, reference: str) -> None:
        """Let an image be gone, as the kubelet's clean-up does."""
        self._present.discard(reference)
        self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,  # noqa: ARG002  # every registry is open
        *,
        resume_key: str,
        keep_seconds: float,  # noqa: ARG002  # see above
        on_bytes: OnBytes,
    ) -> PresentImage:
        """Let time pass and report bytes; see the protocol."""
        self._pulls[reference] += 1
        failure = self._failure(reference)
        if failure is not None or reference not in self._present:
            if self._is_held():
                await self._download(resume_key, _HELD_AT, on_bytes)
            while self._is_held():  # noqa: ASYNC110 - a file that goes announces nothing
                await asyncio.sleep(_LOOK_SECONDS)
            await self._download(resume_key, 1.0 if failure is None else _FAILS_AT, on_bytes)
        if failure is not None:
            raise failure
        await self.forget(resume_key)
        self._present.add(reference)
        self._tell()
        return self._image(reference)

    async def forget(self, resume_key: str) -> None:
        """Drop what an interrupted pull has brought."""
        self._done.pop(resume_key, None)

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """Drop what interrupted pulls have brought whose keys are not to be kept."""
        self._done = {key: done for key, done in self._done.items() if keep(key)}

    async def close(self) -> None:
        """Do nothing."""

    async def _download(self, resume_key: str, until: float, on_bytes: OnBytes) -> None:
        """Go on from where the key's last pull was to the part ``until``."""
        now = asyncio.get_running_loop().time
        done = self._done.setdefault(resume_key, 0.0)
        begin = now() - done * self._seconds
        while done < until:
            left = (until - done) * self._seconds
            await asyncio.sleep(min(self._progress_seconds, left))
            # Never measured at the end: a remainder too small for the clock would last for ever.
            is_end = left <= self._progress_seconds
            done = until if is_end else min(until, (now() - begin) / self._seconds)
            self._done[resume_key] = done
            on_bytes(Bytes(int(done * self._size), self._size))

    def _is_held(self) -> bool:
        return self._hold is not None and self._hold.exists()

    def _failure(self, reference: str) -> PullFailed | None:
        ordered = _ORDERED.fullmatch(reference)
        if ordered and (reason := _REASONS.get(ordered["reason"])):
            return PullFailed(reason, f"simulated: {reference} fails by its name")
        if self._chance(reference) < self._failure_rate:
            return PullFailed(Reason.REGISTRY_ERROR, "simulated: the registry answered 503")
        return None

    def _chance(self, reference: str) -> float:
        """Draw a number from 0 to 1 (exclusive) that is the same in every run."""
        drawn = f"{self._seed}/{reference}/{self._pulls[reference]}"
        return int.from_bytes(hashlib.blake2b(drawn.encode(), digest_size=6).digest()) / 2**48

    def _image(self, reference: str) -> PresentImage:
        _, at, digest = reference.partition("@")
        named = digest if at else f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"
        return PresentImage(named, self._size)
