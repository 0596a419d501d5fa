"""A gate of a set: what Kubernetes is told of its nodes, so that no pod meets a cold one."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta

from common.durations import DURATION, seconds_of
from coordinator.core.task import StoredRecord

DOMAIN: Final = "ips.dev/"
"""Taints under it are startup taints of gates."""
CONDITION_PREFIX: Final = "ips.dev/warm-"
LABEL_PREFIX: Final = "ips.dev/warm."
"""Of a Node's condition and label; the name of the set follows."""
LABEL_VALUE: Final = "true"
OPEN_AFTER: Final = "10m"
LONGEST_OPEN_AFTER: Final = 7 * 24 * 3600
"""Seconds."""

TAINT_KEY: Final = r"ips\.dev/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
"""As Kubernetes has it, of our domain."""
_TAINT: Final = re.compile(TAINT_KEY)


def is_taint_key(text: str) -> bool:
    """Whether a text is a key of a taint that a gate may take away."""
    return _TAINT.fullmatch(text) is not None


def is_open_after(text: str) -> bool:
    """Whether a text is a duration after which a gate may open."""
    try:
        return 1 <= seconds_of(text) <= LONGEST_OPEN_AFTER
    except ValueError:
        return False


class SetGate(StoredRecord, frozen=True, kw_only=True):
    """What is kept of the Nodes of one set."""

    condition: bool = False
    """The condition ``ips.dev/warm-<set>`` and the label ``ips.dev/warm.<set>``."""
    taint: Annotated[str, Meta(pattern=rf"^{TAINT_KEY}\Z")] | None = None
    """The key of a taint that is taken away as soon as the node is warm."""
    open_after: Annotated[str, Meta(pattern=rf"^{DURATION}\Z")] = OPEN_AFTER
    """After so long it is taken away from a cold node; as it was written."""

    @property
    def open_after_seconds(self) -> int:
        """The same as a number."""
        return seconds_of(self.open_after)
