"""The bus: NATS for messages, JetStream as the only store. All faults of nats-py end here.

``Bus.connect`` waits for a server, ``run`` keeps the connection, ``KeyValue`` is a bucket. Nothing
is ever kept to be sent after a reconnection, and no method waits without a limit unless it says so.
"""

from common.bus.bus import Bus
from common.bus.calls import OwnInbox
from common.bus.connection import Handler, OnState, Received, Subscription
from common.bus.core_nats import CoreNats
from common.bus.errors import (
    BusError,
    BusRefused,
    Conflict,
    Electing,
    NoJetStream,
    NoResponders,
    NotConnected,
    StoreRefused,
    StoreUnavailable,
    StoreWentBack,
    TimedOut,
)
from common.bus.keyvalue import Entry, KeyValue
from common.bus.protocol import RecordStore
from common.bus.records import Draft, OnStored, Record, StreamConfig, StreamState
from common.bus.settings import BusSettings

__all__ = [
    "Bus",
    "BusError",
    "BusRefused",
    "BusSettings",
    "Conflict",
    "CoreNats",
    "Draft",
    "Electing",
    "Entry",
    "Handler",
    "KeyValue",
    "NoJetStream",
    "NoResponders",
    "NotConnected",
    "OnState",
    "OnStored",
    "OwnInbox",
    "Received",
    "Record",
    "RecordStore",
    "StoreRefused",
    "StoreUnavailable",
    "StoreWentBack",
    "StreamConfig",
    "StreamState",
    "Subscription",
    "TimedOut",
]
