"""CloudEvents 1.0 about warm sets, in structured JSON."""

from __future__ import annotations

from msgspec import UNSET

from common.text import Text
from coordinator.set_documents import (
    WarmSet,
    WarmSetDeleted,
    WarmSetDeletedEvent,
    WarmSetEvent,
    WarmSetNode,
    WarmSetNodeEvent,
)
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds


def set_event(
    event_type: str, *, event_id: str, source: str, time: int, data: WarmSet
) -> WarmSetEvent:
    """``set.…``: ``data`` as GET returns it."""
    return WarmSetEvent(
        id=event_id,
        source=source,
        type=event_type,
        subject=data.name,
        time=milliseconds(time),
        data=data,
    )


def deleted_event(
    name: str, text: Text, *, event_id: str, source: str, time: int
) -> WarmSetDeletedEvent:
    """``set.deleted``: ``data`` as DELETE returns it."""
    return WarmSetDeletedEvent(
        id=event_id,
        source=source,
        type="set.deleted",
        subject=name,
        time=milliseconds(time),
        data=deleted_set(name, text),
    )


def set_node_event(
    event_type: str, *, event_id: str, source: str, time: int, name: str, data: WarmSetNode
) -> WarmSetNodeEvent:
    """``set.node.…``: ``data`` as the set's ``/nodes`` returns it."""
    return WarmSetNodeEvent(
        id=event_id,
        source=source,
        type=event_type,
        subject=f"{name}/{data.node_name}",
        time=milliseconds(time),
        data=data,
    )


def deleted_set(name: str, text: Text, purge: str = "") -> WarmSetDeleted:
    """What is said of a set that is gone; ``purge`` removes its images."""
    said = shown(text)
    return WarmSetDeleted(
        name=name,
        purge=purge or UNSET,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )
