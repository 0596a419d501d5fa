"""Who asks for something, and what there is to be asked for: the words of access, without IO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from common.text import Text

NAME_CHARACTERS: Final = 256
"""Of a user or a group; a longer one names nobody."""
MOST_GROUPS: Final = 1000
TOKEN_CHARACTERS: Final = 16 * 1024
"""Of a token; a longer one is nobody's."""


class Way(StrEnum):
    """How callers are identified. The values are those of ``IPS_AUTH``."""

    NONE = "none"
    TOKENS = "tokens"
    KUBERNETES = "kubernetes"
    OIDC = "oidc"


class Verb(StrEnum):
    """What is done to a resource, in Kubernetes' words."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    USE = "use"
    """Of a credential: have it shown to its registry for a task."""


class Resource(StrEnum):
    """What a role speaks of: virtual resources of the group ``ips.dev``, but for the metrics."""

    TASKS = "tasks"
    SETS = "sets"
    NODES = "nodes"
    IMAGES = "images"
    """On nodes: to delete them is to purge."""
    CREDENTIALS = "credentials"
    AUDIT = "audit"
    METRICS = "metrics"
    """In Kubernetes the path ``/metrics``, to which a Prometheus is given access anyway."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that a caller may do or not."""

    verb: Verb
    resource: Resource


@dataclass(frozen=True, slots=True)
class SecretRead:
    """To get one Secret of Kubernetes, which only Kubernetes can allow to somebody of its own."""

    namespace: str
    name: str


Right = Permission | SecretRead


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was identified."""

    user: str
    groups: tuple[str, ...] = ()
    way: Way = Way.NONE
    until: float | None = None
    """When the credential ends by itself, in seconds since 1970."""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What Kubernetes knows besides, which it is told again when it is asked what they may do."""

    @property
    def is_known(self) -> bool:
        """Whether this is somebody, and not anybody."""
        return self.way is not Way.NONE


ANYBODY: Final = Caller(user="")
"""Whoever asks where nobody is asked who they are."""


class UnknownCredentialError(Exception):
    """The credential is nobody's, or no longer."""


class AuthorityAwayError(Exception):
    """Who is to be asked does not answer; ``text`` says who and why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


def is_name(text: str) -> bool:
    """Whether a text can be a user's or a group's name: printable, and not too long."""
    return 0 < len(text) <= NAME_CHARACTERS and text.isprintable()
