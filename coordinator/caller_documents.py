"""The JSON shapes of who asks, and of the audit: who did what."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from coordinator.documents import Document, Message, MessageCode, MessageParams, Milliseconds


class Session(Document, frozen=True, kw_only=True):
    """Who asks, as the service sees it, and how a browser can log in."""

    identified: bool
    """Whether it is known who asks; false too where nobody is asked."""
    required: bool
    """Whether anything is answered only to those who are known."""
    user: str | UnsetType = UNSET
    groups: list[str] = msgspec.field(default_factory=list)
    way: Annotated[str, Meta(extra_json_schema={"enum": ["none", "tokens", "kubernetes", "oidc"]})]
    """How they are known."""
    expires_at: Milliseconds | UnsetType = UNSET
    """When the session ends, where that is known."""
    reads_audit: bool = False
    """Whether they may read the audit."""
    logins: list[Annotated[str, Meta(extra_json_schema={"enum": ["token", "oidc"]})]] = (
        msgspec.field(default_factory=list)
    )
    """`token`: by `POST /api/v1/session`. `oidc`: at `/api/v1/session/login`."""
    message: Message | UnsetType = UNSET
    """What an operator should see to."""
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class AuditEntry(Document, frozen=True, kw_only=True):
    """One change, or one refusal."""

    time: Milliseconds
    user: str | UnsetType = UNSET
    """Who; left out where nobody knows."""
    groups: list[str]
    way: str
    """How they were identified; ``none`` where they were not."""
    address: str | UnsetType = UNSET
    """Where the request came from: a proxy's address, where there is one."""
    action: Annotated[str, Meta(examples=["create tasks"])]
    status: int
    """Of the answer: under 400 it was done."""
    reason: MessageCode | UnsetType = UNSET
    """Why it was refused."""
    task_id: str | UnsetType = UNSET
    images: list[str]


class AuditList(Document, frozen=True, kw_only=True):
    """The newest entries, the newest first."""

    entries: list[AuditEntry]
    limit: int
