"""What the puller needs of a container runtime. Everything optional is None where it is missing.

A driver knows its runtime's errors and turns every one into ``PullFailed`` with a reason; it knows
nothing of tasks, attempts or retries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.messages import ImageDisk, PullPhase
from common.reasons import Reason, clip


class PullFailed(Exception):  # noqa: N818  # named for what happened
    """An image could not be pulled or looked up; the text is clipped and free of credentials."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {clip(message)}")
        self.reason = reason
        self.message = clip(message)


class RemovalFailed(Exception):  # noqa: N818  # see above
    """The runtime did not remove an image; the text says why, and is free of credentials."""


class RuntimeAway(Exception):  # noqa: N818  # named for what is the case
    """The runtime does not answer on its endpoint; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registry is told: a user name and a password, or one of the two tokens.

    ``registry`` is the host and port that references name it by. A runtime that is configured to
    find that name's images elsewhere shows them there.
    """

    registry: str
    username: str = ""
    password: str = ""
    identity_token: str = ""
    """For a server of tokens, as Docker's ``identitytoken``."""
    registry_token: str = ""
    """For the registry itself, as Docker's ``registrytoken``; not every runtime takes one."""

    def __repr__(self) -> str:
        return f"Credentials(registry={self.registry!r})"


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """What runs on the node. ``image_disk`` is None where it cannot be seen."""

    runtime: str
    """Name and version, for example ``containerd 2.1.9``; ``simulated`` calls itself so."""
    platform: str
    """``os/arch`` in OCI terms."""
    image_disk: ImageDisk | None = None


@dataclass(frozen=True, slots=True)
class PresentImage:
    """An image that is on the node."""

    digest: str | None
    """Of the manifest or index that its reference names, ``sha256:…``; None where unknown."""
    size: int | None
    """Compressed bytes."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the runtime's store, whoever brought it there, and for whatever platform."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """``repository@sha256:…`` of all manifests and indexes that it is known by."""
    size: int | None = None
    """Bytes as the runtime counts them."""
    pinned: bool = False
    """Whether the runtime says that nobody may remove it."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """How far a pull is, in compressed bytes. What was there before counts as done.

    ``total`` is None until the manifest is known, and where the sizes in it make no sense.
    """

    done: int
    total: int | None
    phase: PullPhase = PullPhase.DOWNLOADING
    """``DOWNLOADING`` only while the runtime has a download of it open: then bytes are due."""


OnBytes = Callable[[Bytes], None]


class Runtime(Protocol):
    """A container runtime that pulls one image at a time per call, any number of calls at once."""

    driver: str
    """``cri``, ``crictl`` or ``simulated``."""

    @property
    def sees_bytes(self) -> bool:
        """Whether ``pull`` reports bytes; may change with what the runtime answers."""

    @property
    def resumes(self) -> bool:
        """Whether an interrupted pull can be resumed; may change with what the runtime answers."""

    async def facts(self) -> RuntimeFacts:
        """Ask what the runtime is. Raises RuntimeAway."""

    async def find(self, reference: str) -> PresentImage | None:
        """Look an image up on the node, without asking a registry. Raises PullFailed.

        None if it is not there, or there for another platform only: no container here could use
        that, and a pull says so, or mends it where the registry has the right one by now.
        """

    async def list_images(self) -> Sequence[StoredImage]:
        """Every image on the node, with all its names in full. Raises RuntimeAway.

        Whether one of them can be used here, ``find`` tells.
        """

    async def used_images(self) -> frozenset[str]:
        """Names and ids of the images that containers have, stopped ones too. Raises RuntimeAway.

        The image of pods' sandboxes as well, where the runtime tells.
        """

    async def remove_image(self, image_id: str) -> None:
        """Remove an image with all its names. Raises RemovalFailed, RuntimeAway.

        What is not there is removed.
        """

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """Call back whenever an image may have come, changed or gone.

        Returns where the runtime does not tell. Raises RuntimeAway once it stops.
        """

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,
        *,
        resume_key: str,
        keep_seconds: float,
        on_bytes: OnBytes,
    ) -> PresentImage:
        """Pull an image. Raises PullFailed; PLATFORM_MISMATCH if what came cannot run here.

        ``resume_key`` names what an interrupted pull may be resumed from where the runtime can do
        that (a containerd lease); two calls at once never share a key. ``keep_seconds`` is the
        longest that the caller lets the call go on; what it leaves is kept for that long and an
        hour. Cancelling the call stops the download on the runtime and keeps what is resumable, and
        so does a failure after which that is of use. ``on_bytes`` is called about once a second
        where bytes can be seen, and at the end; its ``done`` never falls within a call.
        """

    async def forget(self, resume_key: str) -> None:
        """Drop what an interrupted pull could be resumed from.

        Never raises: what is not there needs no dropping, and what an absent runtime holds expires.
        """

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """Drop everything resumable of this installation whose key is not to be kept.

        Raises RuntimeAway.
        """

    async def close(self) -> None:
        """Release the connection."""
