"""The body of a purge: images and nodes as a create has them, and whether it is only looked at."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect
from msgspec.structs import replace

from coordinator.api.create_body import CreateTask, order_of
from coordinator.api.faults import faults, rule
from coordinator.api.problems import bad_request
from coordinator.api.taken_fields import taken
from coordinator.purge_port import PurgeOrder

_OF_PURGES: Final = frozenset({"images", "node_selector", "match_expressions", "node_names"})
_DRY_RUN: Final = Annotated[
    bool, rule(description="Say what would be removed, and remove nothing.")
]

PurgeImages: Final = msgspec.defstruct(
    "PurgeImages",
    [*taken(_OF_PURGES), ("dry_run", _DRY_RUN, False)],
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
    namespace={"__doc__": "Which images are to be taken off which nodes."},
    module=__name__,
)
_SHAPE: Final = inspect.type_info(PurgeImages)


def read_purge(body: Any) -> PurgeOrder:
    """Check a decoded body; a Refusal names everything that is wrong with it."""
    if found := list(faults(_SHAPE, body)):
        raise bad_request(found)
    rest = {name: value for name, value in body.items() if name != "dryRun"}
    order = order_of(msgspec.convert(rest, CreateTask))
    spec = replace(order.spec, priority=1)  # a policy's urgency says nothing of a purge
    return PurgeOrder(spec, order.names, dry_run=bool(body.get("dryRun", False)))
