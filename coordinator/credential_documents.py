"""The JSON shapes of stored registry credentials. No secret is in any of them."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from coordinator.documents import (
    Document,
    Message,
    MessageCode,
    MessageParams,
    Milliseconds,
    Total,
)


class RegistryCredential(Document, frozen=True, kw_only=True):
    """What is shown of a stored credential: never its password or token."""

    name: Annotated[str, Meta(examples=["shop"])]
    registry: Annotated[str, Meta(examples=["registry.example.com"])]
    kind: Annotated[str, Meta(extra_json_schema={"enum": ["password", "token"]})]
    username: str | UnsetType = UNSET
    created_at: Milliseconds
    updated_at: Milliseconds
    updated_by: str | UnsetType = UNSET
    """Who put it last; left out where nobody knows."""


class RegistryCredentialList(Document, frozen=True, kw_only=True):
    """One page of credentials, by name."""

    credentials: list[RegistryCredential]
    total: Total
    limit: int
    offset: int


class RegistryCredentialDeleted(Document, frozen=True, kw_only=True):
    """A credential is gone."""

    name: str
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
