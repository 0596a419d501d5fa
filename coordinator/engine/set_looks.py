"""Looks at a set's tags, as they are shown."""

from __future__ import annotations

from coordinator.core.sets.head import SetHead
from coordinator.core.sets.view import SetView
from coordinator.snapshots import SetLooks


def looks_of(core: SetView, head: SetHead) -> SetLooks | None:
    """What is known of them; None where none was ever wanted."""
    known = core.refreshed(head.name)
    if head.refresh is None and not head.refresh_asked_at and not known.tags:
        return None
    task, due, failure = core.look(head.name)
    if due is not None and due * 1000 < head.created_at:
        due = None  # it is due as soon as it can be made
    newest = {reference: tag.current[0] for reference, tag in known.tags.items()}
    return SetLooks(known.looked_at or None, due, task, failure, newest)
