"""The credentials that a task names: looked up, asked about and sealed at each dispatch.

Nothing is kept: what was deleted, or may not be used any more, is missed by the next attempt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from common import credential_texts as texts
from common.docker_config import ConfiguredLogin
from common.image_reference import ImageReference
from common.messages import Heartbeat
from common.sealed_logins import (
    LONGEST_TEXT,
    MOST_SEALED,
    MOST_SHOWN,
    SealedLogins,
    ShownLogin,
    seal_logins,
    work_of,
)
from common.text import Text
from coordinator.access.callers import Caller, Right, SecretRead, Way
from coordinator.access.credential_rights import missing_right
from coordinator.core.commands import Assign
from coordinator.core.task import Asker, TaskSpec
from coordinator.credentials.pull_secret import PullSecret, PullSecretError, PullSecrets
from coordinator.credentials.records import CredentialRecord, RegistryLogin, UnreadableSecretError
from coordinator.credentials.table import CredentialTable

KEY_DIGITS: Final = 32
# Who replaces a Secret or a RoleBinding often deletes it first.
_MAY_PASS: Final = frozenset({texts.PULL_SECRET_GONE.code, texts.PULL_SECRET_FORBIDDEN.code})


class CannotBeGivenError(Exception):
    """A task's credentials cannot be given to an agent; ``text`` says which and why.

    ``may_pass``: a moment later it may be otherwise.
    """

    def __init__(self, text: Text, *, may_pass: bool = False) -> None:
        super().__init__(text.message)
        self.text = text
        self.may_pass = may_pass


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

    async def may_still(self, caller: Caller, right: Right) -> bool:
        """Whether somebody who has asked before may do something. Raises AuthorityAwayError."""


@dataclass(frozen=True, slots=True)
class SealedWork:
    """What goes along with an assignment."""

    sealed: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    """By reference: which credentials its registry is shown; equal where they are the same."""


class _Source(Protocol):
    """One of the things that a task names."""

    @property
    def identity(self) -> bytes:
        """Equal for the same at the same state of it; tells nothing of what it holds."""

    def logins(self, image: ImageReference) -> Sequence[ConfiguredLogin]:
        """What an image's registry is shown. Raises CannotBeGivenError."""


class _Offer(NamedTuple):
    """One login for one registry, and from where."""

    source: int
    login: ConfiguredLogin
    registry: str


class TaskCredentials:
    """Seals what the registries of an assignment's images are shown."""

    def __init__(
        self,
        stored: StoredLogins | None = None,
        rights: CurrentRights | None = None,
        secrets: PullSecrets | None = None,
    ) -> None:
        """Without ``rights`` everybody may use everything; without ``secrets`` there are none."""
        self._stored = stored or CredentialTable()
        self._rights = rights
        self._secrets = secrets

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have this one told the name of each credential that changes; ends that."""
        return self._stored.listen(listener)

    async def seal(self, command: Assign, agent: Heartbeat) -> SealedWork:
        """What an agent is given. Raises CannotBeGivenError, StoreAway and AuthorityAwayError."""
        await self._check_rights(command.spec)
        sources: list[_Source] = [await self._find(name) for name in command.spec.credentials]
        sources += [await self._read(name) for name in command.spec.pull_secrets]
        references = [image.reference for image in command.images]
        logins, keys = _shown(sources, references)
        if not logins:
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
            logins=logins,
        )
        return SealedWork(_sealed(content, agent.public_key, command.key.node), keys)

    async def _check_rights(self, spec: TaskSpec) -> None:
        rights = self._rights
        if rights is None:
            return
        caller = Caller(user="") if spec.asked_by is None else _caller(spec.asked_by)
        missing = await missing_right(spec, lambda right: rights.may_still(caller, right))
        if isinstance(missing, SecretRead):
            name = f"{missing.namespace}/{missing.name}"
            raise CannotBeGivenError(texts.PULL_SECRET_NO_RIGHT(user=caller.user, name=name))
        if missing is not None:
            raise CannotBeGivenError(texts.CREDENTIAL_NO_RIGHT(user=caller.user))

    async def _find(self, name: str) -> _Source:
        record = await self._stored.find(name)
        if record is None:
            raise CannotBeGivenError(texts.CREDENTIAL_GONE(name=name))
        return _StoredSource(record, self._stored)

    async def _read(self, name: str) -> _Source:
        if self._secrets is None:
            raise CannotBeGivenError(texts.PULL_SECRET_NO_KUBERNETES())
        try:
            return _SecretSource(await self._secrets.read(name))
        except PullSecretError as why:
            may_pass = why.text.code in _MAY_PASS
            raise CannotBeGivenError(why.text, may_pass=may_pass) from None


@dataclass(frozen=True, slots=True)
class _StoredSource:
    """A stored credential, which is opened only where it is needed."""

    record: CredentialRecord
    stored: StoredLogins

    @property
    def identity(self) -> bytes:
        """The name, and what is sealed."""
        return _identity(self.record.name, self.record.sealed)

    def logins(self, image: ImageReference) -> Sequence[ConfiguredLogin]:
        """All that it holds for its registry, nothing for others. Raises CannotBeGivenError."""
        if self.record.registry != image.registry:
            return []
        try:
            login = self.stored.open(self.record)
        except UnreadableSecretError:
            name = self.record.name
            raise CannotBeGivenError(texts.CREDENTIAL_NOT_OPENED(name=name)) from None
        return [ConfiguredLogin(login.registry, login.username, login.password, login.token)]


@dataclass(frozen=True, slots=True)
class _SecretSource:
    """A Secret of Kubernetes."""

    secret: PullSecret

    @property
    def identity(self) -> bytes:
        """The name, and at which version it was read."""
        return _identity(self.secret.name, self.secret.version.encode())

    def logins(self, image: ImageReference) -> Sequence[ConfiguredLogin]:
        """What the kubelet would try of it. Raises CannotBeGivenError where nothing is usable."""
        found = list(self.secret.config.matching(image))
        faults = [fault for fault in map(_fault, found) if fault]
        if faults and len(faults) == len(found):
            name, shown = self.secret.name, f"{image.registry}/{image.repository}"
            text = texts.PULL_SECRET_ENTRY(name=name, image=shown, why=faults[0])
            raise CannotBeGivenError(text)
        return [login for login in found if not _fault(login)]


def _fault(login: ConfiguredLogin) -> str:
    texts_of_it = (login.username, login.password, login.identity_token, login.registry_token)
    if any(len(text) > LONGEST_TEXT for text in texts_of_it):
        return f"an entry holds more than {LONGEST_TEXT} characters"
    return login.fault


def _sealed(content: SealedLogins, public_key: str, node: str) -> str:
    try:
        sealed = seal_logins(content, public_key)
    except ValueError:
        raise CannotBeGivenError(texts.CREDENTIAL_BAD_KEY(node=node)) from None
    if len(sealed) > MOST_SEALED:
        text = texts.CREDENTIAL_LOGINS_TOO_LARGE(node=node, size=len(sealed), limit=MOST_SEALED)
        raise CannotBeGivenError(text)
    return sealed


def _shown(
    sources: Sequence[_Source], references: Sequence[str]
) -> tuple[list[ShownLogin], Mapping[str, str]]:
    """The logins, in the order in which to try them, and the key of each image that has some."""
    offers: dict[_Offer, list[int]] = {}
    keys: dict[str, str] = {}
    for place, reference in enumerate(references):
        used = []
        for offer in _offers(sources, ImageReference.parse(reference)):
            offers.setdefault(offer, []).append(place)
            used.append(offer.source)
            if len(offers) > MOST_SHOWN:
                raise CannotBeGivenError(texts.CREDENTIAL_TOO_MANY_LOGINS(most=MOST_SHOWN))
        if used:
            keys[reference] = _key([sources[at].identity for at in dict.fromkeys(used)])
    # The sources as the task names them, and of one the more specific first, for every image.
    ordered = sorted(offers, key=lambda offer: offer.login.key, reverse=True)
    ordered.sort(key=lambda offer: offer.source)
    return [
        ShownLogin(
            registry=offer.registry,
            username=offer.login.username,
            password=offer.login.password,
            identity_token=offer.login.identity_token,
            registry_token=offer.login.registry_token,
            places=tuple(offers[offer]),
        )
        for offer in ordered
    ], keys


def _offers(sources: Sequence[_Source], image: ImageReference) -> Iterator[_Offer]:
    for at, source in enumerate(sources):
        for login in source.logins(image):
            yield _Offer(at, login, image.registry)


def _caller(asker: Asker) -> Caller:
    extra = tuple(sorted(asker.extra.items()))
    return Caller(user=asker.user, groups=asker.groups, way=Way(asker.way), extra=extra)


def _identity(name: str, state: bytes) -> bytes:
    return name.encode() + b"\0" + hashlib.sha256(state).digest()


def _key(identities: Sequence[bytes]) -> str:
    """A name for credentials that tells nothing of them."""
    return hashlib.sha256(b"".join(identities)).hexdigest()[:KEY_DIGITS]
