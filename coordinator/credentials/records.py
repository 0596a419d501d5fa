"""A registry's credential as it is stored: what may be shown in clear, the rest sealed.

Sealed by libsodium's secretbox (XSalsa20 and Poly1305), with the name and the registry inside: who
can write the store cannot have a secret sent to another registry by putting it under another name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from common.image_reference import ImageReference, InvalidReference
from common.messages import NOT_DECODABLE
from common.subjects import SET_NAME
from coordinator.core.task import Creator, CredentialName, StoredRecord, Time

USERNAME_CHARACTERS: Final = 256
SECRET_CHARACTERS: Final = 8192
"""Of a password or a token; those of cloud registries have some 3,000."""
REGISTRY_CHARACTERS: Final = 320
"""A host name of 253, a port, and what stands between them."""
MOST_SEALED: Final = 64 * 1024
OTHER_NAME_OF_HUB: Final = "index.docker.io"
NAME: Final = SET_NAME
"""An RFC 1123 label of at most 50 characters, as a set has."""

_name = re.compile(NAME)
_Secret = Annotated[str, Meta(max_length=SECRET_CHARACTERS)]
_Registry = Annotated[str, Meta(min_length=1, max_length=REGISTRY_CHARACTERS)]
_Username = Annotated[str, Meta(max_length=USERNAME_CHARACTERS)]


class UnreadableSecretError(Exception):
    """What is sealed cannot be opened: by none of the keys, or it is not what it should be."""


class RegistryLogin(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a registry is shown: a user name with a password, or a token."""

    name: CredentialName
    registry: _Registry
    """Host and, where given, port, as references name it: ``docker.io``, ``localhost:5000``."""
    username: _Username = ""
    password: _Secret = ""
    token: _Secret = ""
    """For a server of tokens, as Docker's ``identitytoken``."""

    def __repr__(self) -> str:
        return f"RegistryLogin(name={self.name!r}, registry={self.registry!r})"


class CredentialRecord(StoredRecord, frozen=True, kw_only=True):
    """One stored credential. Times are milliseconds since 1970."""

    name: CredentialName
    registry: _Registry
    username: _Username = ""
    """Empty where it is a token."""
    created_at: Time
    updated_at: Time
    updated_by: Creator | None = None
    """Who put it last."""
    sealed: Annotated[bytes, Meta(max_length=MOST_SEALED)]
    """A ``RegistryLogin``."""


_read_login = msgspec.json.Decoder(RegistryLogin).decode


def is_credential_name(text: str) -> bool:
    """Whether a credential can have this name."""
    return _name.fullmatch(text) is not None


def registry_of(text: str) -> str | None:
    """The registry that a text names, as references name it; None where it names none."""
    if "/" in text or len(text) > REGISTRY_CHARACTERS:
        return None
    try:
        found = ImageReference.parse(f"{text}/image")
    except InvalidReference:
        return None
    # What is no registry is the beginning of a name on Docker's Hub.
    return found.registry if text in {found.registry, OTHER_NAME_OF_HUB} else None


def seal(login: RegistryLogin, key: bytes) -> bytes:
    """Seal a secret by a key of 32 bytes."""
    return bytes(SecretBox(key).encrypt(msgspec.json.encode(login)))


def unseal(record: CredentialRecord, keys: Sequence[bytes]) -> tuple[RegistryLogin, int]:
    """The secret of a record, and by which of the keys it was sealed.

    Raises UnreadableSecretError.
    """
    for number, key in enumerate(keys):
        try:
            login = _read_login(SecretBox(key).decrypt(record.sealed))
        except CryptoError:
            continue
        except (*NOT_DECODABLE, ValueError):
            break
        if (login.name, login.registry) != (record.name, record.registry):
            break
        return login, number
    raise UnreadableSecretError(record.name)
