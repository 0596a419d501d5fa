"""What interrupted pulls can be resumed from: one containerd lease for each resume key.

Without a lease containerd throws away everything that a pull has brought as soon as it fails or is
cancelled, complete layers included. A lease expires by itself, so that an agent that never comes
back leaves nothing for ever.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent.runtime.containerd import CONTENT, INGESTS, NOT_FOUND, UNIMPLEMENTED
from agent.runtime.endpoint import CallFailed
from agent.runtime.protocol import RuntimeAway

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from agent.runtime.containerd import Containerd, Lease, Resource

_OWNER_LABEL, _OWNER = "io.ips.owner", "prewarm-agent"
_INSTALLATION_LABEL = "io.ips.installation"
_KEY_LABEL = "io.ips.resume-key"
_EXPIRY_LABEL = "containerd.io/gc.expire"
_GRACE = timedelta(hours=1)
"""How much longer than a pull may take what it leaves is kept: long enough for any retry delay."""

_log = logging.getLogger(__name__)


class Leases:
    """The leases of one installation of this service on one runtime.

    Another installation may have an agent on the same node; its leases are neither seen nor ended.
    """

    def __init__(self, containerd: Containerd, installation: str) -> None:
        self._containerd = containerd
        self._owner = {_OWNER_LABEL: _OWNER, _INSTALLATION_LABEL: installation}
        self.available = False
        """Whether the runtime has leases, as far as it has answered yet."""

    async def probe(self) -> None:
        """Find out whether the runtime has leases. Raises RuntimeAway."""
        try:
            await self._ours()
        except CallFailed as error:
            _log.debug("no leases: %s", error)

    async def take(self, key: str, seconds: float) -> str | None:
        """Get a lease that outlives a pull of so many seconds; None where there are no leases.

        An older one of the same key is used again, or what it keeps is handed on to a new one: a
        lease cannot be prolonged, and one that expired under a running pull would make it fail.
        Manifests are not kept, so that those under the lease are what the reference names now: a
        tag may have moved. Raises RuntimeAway.
        """
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            held = [lease for lease in await self._ours() if lease.labels.get(_KEY_LABEL) == key]
            lasting = [lease.id for lease in held if _expiry(lease) >= until]
            if not lasting:
                return await self._renew(held, key, until + _GRACE)
            for resource in await self._containerd.resources(lasting[0]):
                if await self._names_parts(resource):
                    await self._containerd.release_resource(lasting[0], resource)
            return lasting[0]
        except CallFailed as error:
            if error.code != UNIMPLEMENTED:
                _log.warning("this pull cannot be resumed, no lease was to be had: %s", error)
            return None

    async def drop(self, key: str) -> None:
        """Let everything go that a key keeps. Never raises: what cannot be reached expires."""
        try:
            await self.sweep(lambda other: other != key)
        except RuntimeAway as error:
            _log.debug("a lease is left to expire: %s", error)

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """Let all of this installation go whose key is not to be kept. Raises RuntimeAway."""
        try:
            for lease in await self._ours():
                if not keep(lease.labels.get(_KEY_LABEL, "")):
                    await self._containerd.delete_lease(lease.id)
        except CallFailed as error:
            if error.code != UNIMPLEMENTED:
                _log.warning("a lease is left to expire: %s", error)

    async def idle_ingests(self, running: Container[str]) -> set[str]:
        """Name the downloads that only leases of this installation keep, those that run excepted.

        Raises CallFailed, RuntimeAway.
        """
        idle: set[str] = set()
        kept: set[str] = set()
        for lease in await self._ours():
            found = await self._containerd.resources(lease.id)
            names = {resource.id for resource in found if resource.type == INGESTS}
            if lease.id in running:
                kept |= names
            else:
                idle |= names
        return idle - kept

    async def _names_parts(self, resource: Resource) -> bool:
        """Whether a resource is a manifest or an index."""
        if resource.type != CONTENT:
            return False
        try:
            blob = await self._containerd.blob(resource.id)
        except CallFailed as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return blob.is_manifest or blob.is_index

    async def _ours(self) -> list[Lease]:
        try:
            found = await self._containerd.leases(self._owner)
        except CallFailed as error:
            self.available = error.code != UNIMPLEMENTED
            raise
        self.available = True
        return found

    async def _renew(self, held: Sequence[Lease], key: str, expiry: datetime) -> str:
        name = f"ips-{hashlib.sha256(key.encode()).hexdigest()[:16]}-{secrets.token_hex(4)}"
        labels = {
            **self._owner,
            _KEY_LABEL: key,
            _EXPIRY_LABEL: expiry.isoformat(timespec="seconds"),
        }
        await self._containerd.create_lease(name, labels)
        for old in held:
            for resource in await self._containerd.resources(old.id):
                if not await self._names_parts(resource):
                    await self._containerd.add_resource(name, resource)
            await self._containerd.delete_lease(old.id)
        return name


def _expiry(lease: Lease) -> datetime:
    try:
        return datetime.fromisoformat(lease.labels[_EXPIRY_LABEL])
    except (KeyError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
