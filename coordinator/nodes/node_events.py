"""Warning Events on Nodes, where ``kubectl describe node`` shows them."""

from __future__ import annotations

import socket
from datetime import datetime
from typing import Any, Final

NAMESPACE: Final = "default"
"""Where Events about what is in no namespace are kept."""
EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
_LONGEST_NOTE: Final = 1024
_REPORTER: Final = "image-prewarm-service"


def node_event(
    name: str, node: str, uid: str, now: datetime, what: tuple[str, str, str]
) -> dict[str, Any]:
    """An Event of events.k8s.io/v1 on the Node with this UID; ``what``: action, reason, note."""
    action, reason, note = what
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": _REPORTER,
        "reportingInstance": socket.gethostname(),
        "type": "Warning",
        "action": action,
        "reason": reason,
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},
        "note": note[:_LONGEST_NOTE],
    }
