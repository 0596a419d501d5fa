"""What is remembered of sets and their nodes, as it is stored. Times are ms since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from common.reasons import Reason
from common.text import Code, MessageText, Params, Text, fields_of
from coordinator.core.sets.freshness import LookFailure
from coordinator.core.sets.head import Generation
from coordinator.core.sets.memory import NO_REST, Rest
from coordinator.core.sets.records import THRASHING_TIMES, NodeMemory, RepairFailure
from coordinator.core.sets.repairs import InVain
from coordinator.core.task import NodeName, SetName, StoredRecord, Time

MOST_NODES: Final = 20_000
"""Of one record."""
MOST_WHYS: Final = 1000
"""Sentences of one record: most nodes fail for the same reason."""
LONGEST_SENTENCE: Final = 400
"""Characters of a sentence that are kept, its parameters left out where it has more."""
Times = Annotated[int, Meta(ge=1, le=2**31)]


class StoredWhy(StoredRecord, frozen=True, kw_only=True):
    """Why something failed."""

    reason: Reason
    image: Annotated[str, Meta(max_length=2048)] | None = None
    message: MessageText = ""
    message_code: Code = ""
    message_params: Params = msgspec.field(default_factory=dict)

    @property
    def parts(self) -> tuple[Reason, Text, str | None]:
        """As the core has it."""
        text = Text(self.message, self.message_code, self.message_params)
        return self.reason, text, self.image


def stored_why(reason: Reason, text: Text, image: str | None) -> StoredWhy:
    """What is stored of it; a sentence that is very long is cut."""
    said = fields_of(text)
    if len(text.message) + sum(len(str(each)) for each in text.params.values()) > LONGEST_SENTENCE:
        said = fields_of(Text(text.message[:LONGEST_SENTENCE]))
    return StoredWhy(reason=reason, image=image, **said)


class StoredFailure(StoredRecord, frozen=True, kw_only=True):
    """The last of a node's failed repairs in a row (``RepairFailure``)."""

    times: Times
    next_try: Time
    told_from: Time = 0
    served_by: Annotated[str, Meta(max_length=64)] = ""
    why: Annotated[int, Meta(ge=0, le=MOST_WHYS - 1)]
    """Its place among the record's reasons."""


class StoredNode(StoredRecord, frozen=True, kw_only=True):
    """What is remembered of one node (``NodeMemory``)."""

    failure: StoredFailure | None = None
    vanished: Annotated[tuple[Time, ...], Meta(max_length=THRASHING_TIMES)] = ()
    is_new: bool = False


class NodesNote(StoredRecord, frozen=True, kw_only=True):
    """What is remembered of some nodes of a set."""

    name: SetName
    created_at: Time
    generation: Generation
    """Of the set by then."""
    whys: Annotated[tuple[StoredWhy, ...], Meta(max_length=MOST_WHYS)] = ()
    nodes: Annotated[Mapping[NodeName, StoredNode], Meta(max_length=MOST_NODES)] = msgspec.field(
        default_factory=dict
    )

    def memories(self) -> dict[str, NodeMemory]:
        """The same as the core has it. Raises ValueError for a reason that is not there."""
        return {node: self._memory(each) for node, each in self.nodes.items()}

    def _memory(self, stored: StoredNode) -> NodeMemory:
        found, failure = stored.failure, None
        if found is not None:
            if found.why >= len(self.whys):
                raise ValueError("a node failed for a reason that is not there")
            why = self.whys[found.why].parts
            again, told = found.next_try / 1000, found.told_from / 1000
            failure = RepairFailure(found.times, again, *why, told, found.served_by)
        vanished = tuple(each / 1000 for each in stored.vanished)
        return NodeMemory(failure, vanished, stored.is_new)


def nodes_note(
    name: str, created_at: int, generation: int, memories: Mapping[str, NodeMemory]
) -> NodesNote:
    """What is to be stored of these; of more than may be, the first by name."""
    whys = _Whys()
    nodes: dict[str, StoredNode] = {}
    for node in sorted(memories)[:MOST_NODES]:
        memory, failure = memories[node], None
        if memory.failure is not None:
            failure = _stored_failure(memory.failure, whys)
        vanished = tuple(round(each * 1000) for each in memory.vanished)
        nodes[node] = StoredNode(failure=failure, vanished=vanished, is_new=memory.is_new)
    return NodesNote(
        name=name, created_at=created_at, generation=generation, whys=tuple(whys.all), nodes=nodes
    )


class _Whys:
    """Reasons, each once."""

    def __init__(self) -> None:
        self.all: list[StoredWhy] = []
        self._places: dict[tuple[Reason, str, str | None], int] = {}

    def place(self, failure: RepairFailure) -> int:
        """Where the reason of a failure stands; of more than may be, that of the last."""
        key = failure.reason, failure.text.message, failure.image
        if key not in self._places and len(self.all) < MOST_WHYS:
            self._places[key] = len(self.all)
            self.all.append(stored_why(failure.reason, failure.text, failure.image))
        return self._places.get(key, MOST_WHYS - 1)


def _stored_failure(failure: RepairFailure, whys: _Whys) -> StoredFailure:
    return StoredFailure(
        times=failure.times,
        next_try=round(failure.next_try * 1000),
        told_from=round(failure.told_from * 1000),
        served_by=failure.served_by,
        why=whys.place(failure),
    )


class StoredRest(StoredRecord, frozen=True, kw_only=True):
    """Why a set as a whole is left alone for a while (``Rest``)."""

    generation: Generation
    in_vain: tuple[Times, Time] | None = None
    """How often in a row repairs were of no use, and until when the set rests."""
    look: tuple[Times, Time] | None = None
    """How often in a row looks at its tags failed, and when the next is made."""
    look_why: StoredWhy | None = None


def rest_of(stored: StoredRest | None) -> Rest:
    """As the core has it."""
    if stored is None:
        return NO_REST
    in_vain, failure = None, None
    if stored.in_vain is not None:
        in_vain = InVain(stored.in_vain[0], stored.in_vain[1] / 1000)
    if stored.look is not None:
        why = None if stored.look_why is None else stored.look_why.parts
        failure = LookFailure(stored.look[0], stored.look[1] / 1000, why)
    return Rest(stored.generation, failure, in_vain)


def stored_rest(rest: Rest) -> StoredRest | None:
    """What is to be stored of it; nothing where a set does not rest."""
    if not rest:
        return None
    failure, in_vain = rest.look_failure, rest.in_vain
    return StoredRest(
        generation=rest.generation,
        in_vain=None if in_vain is None else (in_vain.times, round(in_vain.until * 1000)),
        look=None if failure is None else (failure.times, round(failure.next_try * 1000)),
        look_why=None if failure is None or failure.why is None else stored_why(*failure.why),
    )
