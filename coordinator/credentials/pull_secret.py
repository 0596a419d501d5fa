"""A Secret of Kubernetes with the logins of registries, of either type that the kubelet takes.

https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from common import credential_texts as texts
from common.docker_config import DockerConfig, TooManyEntriesError
from common.messages import NOT_DECODABLE
from common.text import Text
from coordinator.core.task import NAMESPACED_NAME

KEYS: Final = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
"""By type, under which key it is."""

MOST_ENTRIES: Final = 500
"""Of one Secret: each is compared with every image of a task."""
LONGEST_ENTRY_NAME: Final = 500
"""Characters: a host name has 253 at most, and the path behind it hardly ever as many."""

_name = re.compile(NAMESPACED_NAME)


class PullSecretError(Exception):
    """A Secret cannot be used; ``text`` says which and why, without what is in it."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


@dataclass(frozen=True, slots=True)
class PullSecret:
    """What one Secret holds."""

    name: str
    """``namespace/name``."""
    version: str
    """Another one whenever it was changed, or made anew; tells nothing of what is in it."""
    config: DockerConfig


class PullSecrets(Protocol):
    """Where Secrets are read."""

    async def read(self, name: str) -> PullSecret:
        """One of them, as it is now. Raises PullSecretError, AuthorityAwayError."""


class _Identity(msgspec.Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""


class _KubernetesSecret(msgspec.Struct):
    metadata: _Identity
    type: str = ""
    data: dict[str, msgspec.Raw] = {}


_read = msgspec.json.Decoder(_KubernetesSecret).decode


def is_pull_secret(text: str) -> bool:
    """Whether a text is ``namespace/name`` of a Secret."""
    return _name.fullmatch(text) is not None


def decode_pull_secret(name: str, body: bytes) -> PullSecret:
    """A Secret as the API server shows it. Raises PullSecretError, NOT_DECODABLE."""
    found = _read(body)
    key = KEYS.get(found.type)
    if key is None:
        raise PullSecretError(texts.PULL_SECRET_KIND(name=name, kind=found.type))
    try:
        content = msgspec.json.decode(found.data[key], type=bytes)
        config = DockerConfig.parse(
            content, most_entries=MOST_ENTRIES, longest_name=LONGEST_ENTRY_NAME
        )
    except TooManyEntriesError:
        text = texts.PULL_SECRET_TOO_MANY(name=name, most=MOST_ENTRIES, longest=LONGEST_ENTRY_NAME)
        raise PullSecretError(text) from None
    except (KeyError, *NOT_DECODABLE):
        raise PullSecretError(texts.PULL_SECRET_UNREADABLE(name=name)) from None
    version = f"{found.metadata.uid}/{found.metadata.resource_version}"
    return PullSecret(name, version, config)
