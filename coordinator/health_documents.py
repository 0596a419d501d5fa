"""What the probes answer, and who leads."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from coordinator.documents import Document, Message, MessageCode, MessageParams


class Health(Document, frozen=True, kw_only=True):
    """The answer of the probes when all is well."""

    status: Annotated[str, Meta(examples=["ok"])] = "ok"
    message: Message | UnsetType = UNSET
    """What an operator should see to although all requests are answered."""
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class Readiness(Document, frozen=True, kw_only=True):
    """What ``/readyz`` says of a coordinator that can answer reads."""

    status: Annotated[str, Meta(examples=["ok"])] = "ok"
    leads: bool
    leader: str | UnsetType = UNSET
    """Who leads, where it is known and somebody else."""
    nats_connected: bool
    takes_writes: bool
    message: str | UnsetType = UNSET
    """Why it takes no writes."""
    message_code: str | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class Leadership(Document, frozen=True, kw_only=True):
    """Which coordinator answers, whether it leads, and who does where that is known."""

    coordinator: Annotated[str, Meta(examples=["ips-coordinator-0:8080"])]
    leads: bool
    leader: Annotated[str, Meta(examples=["ips-coordinator-1:8080"])] | UnsetType = UNSET
