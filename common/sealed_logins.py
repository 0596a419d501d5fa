"""Credentials of registries on their way to one agent, sealed so that it alone can open them.

By libsodium's sealed box (X25519, XSalsa20 and Poly1305) to the public key of the agent's instance.
Task, attempt and references are inside: what was sealed for one piece of work opens nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from common.messages import MOST_IMAGES, NOT_DECODABLE, AttemptNumber, Message, TaskId

MOST_SHOWN: Final = 20
"""Logins that are sealed for one piece of work."""
MOST_SEALED: Final = 160 * 1024
"""Bytes of the sealed text: a message has 256 KiB, and the references of the images are in it, too.
Of ``MOST_SHOWN`` logins not each can be of the ``LONGEST_TEXT``."""
LONGEST_TEXT: Final = 8192
"""Characters of a user name, a password or a token."""

_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Place = Annotated[int, Meta(ge=0, lt=MOST_IMAGES)]


class ShownLogin(Message, frozen=True, kw_only=True):
    """What one registry is shown. No text of it holds the secret."""

    registry: Annotated[str, Meta(max_length=320)]
    """Host and, where given, port, as references name it."""
    username: _Text = ""
    password: _Text = ""
    identity_token: _Text = ""
    registry_token: _Text = ""
    places: Annotated[tuple[_Place, ...], Meta(max_length=MOST_IMAGES)] = ()
    """Where in the work's references the images stand that it is for; empty for every image of the
    registry."""

    def __repr__(self) -> str:
        return f"ShownLogin(registry={self.registry!r})"


class SealedLogins(Message, frozen=True, kw_only=True):
    """What is sealed."""

    task: TaskId
    attempt: AttemptNumber
    work: Annotated[str, Meta(max_length=64)]
    """The ``work_of`` the assignment's references."""
    logins: Annotated[list[ShownLogin], Meta(max_length=MOST_SHOWN)]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SealedLogins).decode


def work_of(references: Iterable[str]) -> str:
    """The SHA-256 of references in their order, in hex."""
    return hashlib.sha256("\n".join(references).encode()).hexdigest()


def seal_logins(content: SealedLogins, public_key: str) -> str:
    """Seal for whoever has a public key (base64). Raises ValueError for what is no key."""
    try:
        box = SealedBox(PublicKey(base64.b64decode(public_key, validate=True)))
        sealed = box.encrypt(_encode(content))  # refuses a point of low order
    except (binascii.Error, CryptoError) as why:  # both are a ValueError of some kind, or not
        raise ValueError(str(why)) from why
    return base64.b64encode(sealed).decode()


def open_logins(sealed: str, private_key: PrivateKey) -> SealedLogins:
    """What was sealed. Raises ValueError, whose text holds nothing of it."""
    try:
        return _decode(SealedBox(private_key).decrypt(base64.b64decode(sealed, validate=True)))
    except (binascii.Error, CryptoError, *NOT_DECODABLE, ValueError):
        raise ValueError("what is sealed cannot be opened") from None
