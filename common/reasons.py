"""The fixed set of reasons for which a pull or an attempt fails.

Reasons are given where the fault is seen (the runtime driver, the leader) and acted upon in the
core, which knows only whether a retry makes sense.
"""

from __future__ import annotations

from enum import StrEnum

from common.redaction import redact

MESSAGE_LIMIT = 300
"""Characters of raw error text that travel with a reason."""


class Reason(StrEnum):
    """Why an image, or a node's whole attempt, failed. The values are public."""

    IMAGE_NOT_FOUND = "ImageNotFound"
    UNAUTHORIZED = "Unauthorized"
    INVALID_REFERENCE = "InvalidReference"
    PLATFORM_MISMATCH = "PlatformMismatch"
    UNSUPPORTED_IMAGE = "UnsupportedImage"
    TLS_ERROR = "TLSError"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    REGISTRY_ERROR = "RegistryError"
    RATE_LIMITED = "RateLimited"
    CORRUPT_IMAGE = "CorruptImage"
    DISK_FULL = "DiskFull"
    TIMEOUT = "Timeout"
    STALLED = "Stalled"
    RUNTIME_UNAVAILABLE = "RuntimeUnavailable"
    AGENT_UNAVAILABLE = "AgentUnavailable"
    AGENT_LOST = "AgentLost"
    UNKNOWN = "Unknown"
    CANCELLED = "Cancelled"

    @property
    def retry_makes_sense(self) -> bool:
        """Whether trying again can end differently without anybody mending anything by hand."""
        return self not in _PERMANENT


_PERMANENT = frozenset(
    {
        Reason.IMAGE_NOT_FOUND,
        Reason.UNAUTHORIZED,
        Reason.INVALID_REFERENCE,
        Reason.PLATFORM_MISMATCH,
        Reason.UNSUPPORTED_IMAGE,
        Reason.TLS_ERROR,
        Reason.CANCELLED,
    }
)


def clip(message: str) -> str:
    """Cut a raw error text to what may travel with a reason: one line, no credentials."""
    text = " ".join(redact(message).split())
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"
