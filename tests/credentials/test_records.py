"""What is stored of a credential: readable without its secret, and sealed so that it stays put."""

from __future__ import annotations

import base64
import os

import pytest
from msgspec.structs import replace

from coordinator.credentials.key_file import read_secretbox_keys
from coordinator.credentials.records import (
    CredentialRecord,
    RegistryLogin,
    UnreadableSecretError,
    registry_of,
    seal,
    unseal,
)

pytestmark = pytest.mark.pure

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
LOGIN = RegistryLogin(name="shop", registry="reg.example", username="ci", password="s3cret")


def record(key: bytes = KEY) -> CredentialRecord:
    """A stored credential."""
    return CredentialRecord(
        name="shop", registry="reg.example", created_at=1, updated_at=1, sealed=seal(LOGIN, key)
    )


def test_what_is_sealed_can_be_opened() -> None:
    """By either of two keys; and it shows in no other way."""
    assert unseal(record(), [KEY]) == (LOGIN, 0)
    assert unseal(record(), [OTHER, KEY]) == (LOGIN, 1)
    assert b"s3cret" not in record().sealed
    assert "s3cret" not in repr(LOGIN) + str(LOGIN)


@pytest.mark.parametrize(
    "stored",
    [
        record(OTHER),
        replace(record(), registry="evil.example"),
        replace(record(), name="other"),
        replace(record(), sealed=record().sealed[:-1] + b"\0"),
        replace(record(), sealed=b""),
    ],
)
def test_what_was_tampered_with_is_opened_by_nobody(stored: CredentialRecord) -> None:
    """Neither what another key sealed, nor a secret that was moved to another registry."""
    with pytest.raises(UnreadableSecretError):
        unseal(stored, [KEY])


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("reg.example", "reg.example"),
        ("reg.example:5000", "reg.example:5000"),
        ("localhost", "localhost"),
        ("[::1]:5000", "[::1]:5000"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("library", None),
        ("myname", None),
        ("", None),
        ("https://reg.example", None),
        ("reg.example/path", None),
        ("user:s3cret@reg.example", None),
        ("reg_1.example", None),
    ],
)
def test_what_a_registry_is(text: str, registry: str | None) -> None:
    """A host as references name it."""
    assert registry_of(text) == registry


def test_the_file_of_keys() -> None:
    """One or two, in either alphabet of base64; what is none is not repeated."""
    keys = [os.urandom(32), b"\xfb\xff" * 16]
    text = base64.b64encode(keys[0]).decode() + "\n\n" + base64.urlsafe_b64encode(keys[1]).decode()
    assert list(read_secretbox_keys(text)) == keys
    for wrong in ("", "nonsense", f"{text}\n{text}", base64.b64encode(b"short").decode()):
        with pytest.raises(ValueError, match="key") as caught:
            read_secretbox_keys(wrong)
        assert "nonsense" not in str(caught.value)
