"""What the service answers about stored registry credentials, typed: never their secrets."""

from __future__ import annotations

from ips_client.decoding import Document, Moment


class RegistryCredential(Document, frozen=True, kw_only=True):
    """What is shown of a stored credential."""

    name: str
    registry: str
    kind: str
    """``password`` or ``token``."""
    username: str | None = None
    created_at: Moment
    updated_at: Moment
    updated_by: str | None = None
    """Who put it last, where that is known."""


class RegistryCredentials(Document, frozen=True, kw_only=True):
    """One page of them, by name."""

    credentials: tuple[RegistryCredential, ...]


class RegistryCredentialDeleted(Document, frozen=True, kw_only=True):
    """A credential is gone."""

    name: str
    message: str | None = None
