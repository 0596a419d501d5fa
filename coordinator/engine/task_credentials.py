"""The credentials that a task names: looked up, asked about and sealed at each dispatch.

Nothing is kept: what was deleted, or may not be used any more, is missed by the next attempt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from common import credential_texts as texts
from common.image_reference import ImageReference
from common.messages import Heartbeat
from common.sealed_logins import SealedLogins, ShownLogin, seal_logins, work_of
from common.text import Text
from coordinator.access.callers import Caller, Permission, Resource, Verb, Way
from coordinator.core.commands import Assign
from coordinator.core.task import Asker
from coordinator.credentials.records import CredentialRecord, RegistryLogin, UnreadableSecretError
from coordinator.credentials.table import CredentialTable

USE: Final = Permission(Verb.USE, Resource.CREDENTIALS)
KEY_DIGITS: Final = 32


class CannotBeGivenError(Exception):
    """A task's credentials cannot be given to an agent; ``text`` says which and why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


class StoredLogins(Protocol):
    """The credentials that are stored."""

    async def find(self, name: str) -> CredentialRecord | None:
        """One of them; None where there is none. Raises StoreAway."""

    def open(self, record: CredentialRecord) -> RegistryLogin:
        """Its secret. Raises UnreadableSecretError."""

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have this one told the name of each that is put or deleted; ends that."""


class CurrentRights(Protocol):
    """Who says what somebody may do."""

    async def may_still(self, caller: Caller, permission: Permission) -> bool:
        """Whether somebody who has asked before may do something. Raises AuthorityAwayError."""


@dataclass(frozen=True, slots=True)
class SealedWork:
    """What goes along with an assignment."""

    sealed: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    """By reference: which credentials its registry is shown; equal where they are the same."""


class TaskCredentials:
    """Seals what the registries of an assignment's images are shown."""

    def __init__(
        self, stored: StoredLogins | None = None, rights: CurrentRights | None = None
    ) -> None:
        """Without ``rights`` everybody may use everything."""
        self._stored = stored or CredentialTable()
        self._rights = rights

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have this one told the name of each credential that changes; ends that."""
        return self._stored.listen(listener)

    async def seal(self, command: Assign, agent: Heartbeat) -> SealedWork:
        """What an agent is given. Raises CannotBeGivenError, StoreAway and AuthorityAwayError."""
        await self._check_right(command.spec.asked_by)
        records = [await self._find(name) for name in command.spec.credentials]
        references = [image.reference for image in command.images]
        fitting = {reference: _fitting(records, reference) for reference in references}
        needed = {record.name: record for found in fitting.values() for record in found}
        if not needed:
            return SealedWork()
        if not agent.public_key:
            version = agent.agent_version
            raise CannotBeGivenError(
                texts.CREDENTIAL_OLD_AGENT(node=command.key.node, version=version)
            )
        content = SealedLogins(
            task=command.key.task,
            attempt=command.key.attempt,
            work=work_of(references),
            logins=[self._opened(record) for record in needed.values()],
        )
        keys = {reference: _key(found) for reference, found in fitting.items() if found}
        try:
            return SealedWork(seal_logins(content, agent.public_key), keys)
        except ValueError:
            raise CannotBeGivenError(texts.CREDENTIAL_BAD_KEY(node=command.key.node)) from None

    async def _check_right(self, asker: Asker | None) -> None:
        if self._rights is None:
            return
        caller = Caller(user="") if asker is None else _caller(asker)
        if not await self._rights.may_still(caller, USE):
            raise CannotBeGivenError(texts.CREDENTIAL_NO_RIGHT(user=caller.user))

    async def _find(self, name: str) -> CredentialRecord:
        record = await self._stored.find(name)
        if record is None:
            raise CannotBeGivenError(texts.CREDENTIAL_GONE(name=name))
        return record

    def _opened(self, record: CredentialRecord) -> ShownLogin:
        try:
            login = self._stored.open(record)
        except UnreadableSecretError:
            raise CannotBeGivenError(texts.CREDENTIAL_NOT_OPENED(name=record.name)) from None
        return ShownLogin(
            registry=login.registry,
            username=login.username,
            password=login.password,
            identity_token=login.token,
        )


def _caller(asker: Asker) -> Caller:
    extra = tuple(sorted(asker.extra.items()))
    return Caller(user=asker.user, groups=asker.groups, way=Way(asker.way), extra=extra)


def _fitting(records: Sequence[CredentialRecord], reference: str) -> Sequence[CredentialRecord]:
    registry = ImageReference.parse(reference).registry
    return [record for record in records if record.registry == registry]


def _key(records: Sequence[CredentialRecord]) -> str:
    """A name for credentials that tells nothing of them: of what is stored, which is sealed."""
    hashed = hashlib.sha256()
    for record in records:
        hashed.update(record.name.encode() + b"\0" + hashlib.sha256(record.sealed).digest())
    return hashed.hexdigest()[:KEY_DIGITS]
