"""A Kubernetes Node as the API server writes it, reduced to the few fields that matter here.

Node objects are large (20 kB and more: images, annotations, managed fields); msgspec passes over
what no struct names, so that a page takes milliseconds.
"""

from __future__ import annotations

from sys import intern
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common import texts
from common.messages import LabelText
from common.text import Text
from coordinator.core.fleet import Node
from coordinator.core.sets.gate import LABEL_PREFIX
from coordinator.core.task import NodeName

Text64 = Annotated[str, Meta(max_length=64)]
ConditionType = Annotated[str, Meta(max_length=316)]
ConditionReason = Annotated[str, Meta(max_length=1024)]
TaintText = Annotated[str, Meta(max_length=1024)]
Version = Annotated[str, Meta(max_length=256)]


class Condition(msgspec.Struct, frozen=True):
    """One of a node's conditions; ``status`` is ``True``, ``False`` or ``Unknown``."""

    type: ConditionType
    status: Text64
    reason: ConditionReason = ""


class Taint(msgspec.Struct, frozen=True):
    """What keeps pods away from a node that do not tolerate it."""

    key: TaintText
    effect: TaintText = ""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """A Node's metadata, or that of a bookmark, which has nothing but a version."""

    name: NodeName | Literal[""] = ""
    uid: Annotated[str, Meta(max_length=256)] = ""
    resource_version: Version = ""
    creation_timestamp: Text64 = ""
    labels: Annotated[dict[LabelText, LabelText], Meta(max_length=10_000)] = {}


class Spec(msgspec.Struct, frozen=True):
    """``unschedulable`` is what ``kubectl cordon`` sets."""

    unschedulable: bool = False
    taints: Annotated[list[Taint], Meta(max_length=1000)] = []


class Status(msgspec.Struct, frozen=True):
    """What the kubelet and the node controller say."""

    conditions: Annotated[list[Condition], Meta(max_length=1000)] = []


class NodeObject(msgspec.Struct, frozen=True):
    """A Node."""

    metadata: Metadata
    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)

    def as_node(self) -> Node:
        """What the core needs: a node takes work while it is Ready and not cordoned.

        Labels that are written here are none: a set could select by what it makes itself.
        """
        problem = self._problem()
        # Thousands of nodes share keys and most values: one copy of each is kept.
        labels = {
            intern(key): intern(value)
            for key, value in self.metadata.labels.items()
            if not key.startswith(LABEL_PREFIX)
        }
        return Node(labels, schedulable=problem is None, problem=problem)

    def _problem(self) -> Text | None:
        name = self.metadata.name
        if self.spec.unschedulable:
            return texts.NODE_CORDONED(node=name)
        for condition in self.status.conditions:
            if condition.type == "Ready":
                if condition.status == "True":
                    return None
                return texts.NODE_NOT_READY(node=name, status=condition.status)
        return texts.NODE_READY_UNKNOWN(node=name)


class ListMetadata(msgspec.Struct, frozen=True, rename={"resource_version": "resourceVersion"}):
    """``continue`` leads to the next page; empty on the last one."""

    resource_version: Version
    next_page: Annotated[str, Meta(max_length=65_536)] = msgspec.field(default="", name="continue")


class NodePage(msgspec.Struct, frozen=True):
    """One page of a list; all pages of one list are of one version."""

    metadata: ListMetadata
    items: Annotated[list[msgspec.Raw], Meta(max_length=10_000)]
    """Each a Node, to be read by itself: one that cannot be read is no fault of the others."""


class Failure(msgspec.Struct, frozen=True):
    """A ``Status`` object that reports a failure; ``code`` is an HTTP status."""

    code: Annotated[int, Meta(ge=0, le=999)] = 0
    message: Annotated[str, Meta(max_length=65_536)] = ""


class WatchEvent(msgspec.Struct, frozen=True):
    """A line of a watch: ADDED, MODIFIED, DELETED and BOOKMARK hold a Node, ERROR a ``Status``."""

    type: Text64
    object: msgspec.Raw


read_page = msgspec.json.Decoder(NodePage).decode
read_event = msgspec.json.Decoder(WatchEvent).decode
read_node = msgspec.json.Decoder(NodeObject).decode
read_failure = msgspec.json.Decoder(Failure).decode
"""All raise NOT_DECODABLE for what is no such object."""
