"""Names of images for tests."""

from __future__ import annotations

import secrets


def unique(name: str) -> str:
    """An image that no node has yet."""
    return f"registry.test/{name}:{secrets.token_hex(6)}"


def failing(reason: str = "image-not-found") -> str:
    """An image whose pull fails for a reason, as the simulated runtime promises."""
    return f"registry.test/fails/{reason}:{secrets.token_hex(6)}"
