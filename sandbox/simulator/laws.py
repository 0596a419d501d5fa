"""What must be so in every history, whatever happens: one list.

``witness.py`` looks at it with every step, ``last_look.py`` at the end. Nothing of the product is
asked whether it is right.
"""

from __future__ import annotations

from enum import StrEnum


class Law(StrEnum):
    """What must be so."""

    COUNTED_ONCE = "each node of a task is counted once, as its stored outcomes say"
    DECIDED_ONCE = "an attempt is decided once, and that stays"
    END_IS_FINAL = "a task that is over stays over, and as it ended"
    NOTHING_AFTER_CANCEL = "after its end nothing of a task is assigned, begun, counted or told"
    CAP = "never more nodes are in flight than batchSize, and the limit of all, allow"
    ENDS = "a stored task ends, and the world is told, once faults have ceased"
    ONE_LEADER_AN_EPOCH = "the commands of one epoch come from one coordinator"
    NO_OLD_EPOCH = "an agent takes nothing from an epoch before the one that it has heard"
    TOLD_ONCE = "each event is told once and in order, and a task has exactly one last event"
    TOLD_AS_IT_IS = "what is told of a node is what its outcomes say"
    WEBHOOK = "a webhook arrives at least once, always with the same delivery id"
    CONVERGES = "what replicas know becomes the same"
    STORED_IS_STORED = "what an agent takes for stored is stored, and counts"
    PROMISED = "what a user was told is so: created is stored, cancelled is cancelled"
    RETAINED = "nothing is removed before its retention, nor before the world was told"
    WARM = "a node of a warm set that nothing blocks is warm once faults have ceased"
    SETS_ALONE = "what repairs is wanted by a set that is stored, and a place stays for another one"
    NOTHING_LEFT = "nobody works on, or waits for, what is over"
    NOTHING_DIES = "no program ends by itself, and no part of one fails"


class Broken(Exception):  # noqa: N818 -- named by what happened
    """A law is broken."""

    def __init__(self, law: Law, detail: str) -> None:
        super().__init__(f"{law.name}: {law}\n  {detail}")
        self.law = law
        self.detail = detail

    def __reduce__(self) -> tuple[type[Broken], tuple[Law, str]]:
        """Histories are lived through in other processes, and sent back."""
        return Broken, (self.law, self.detail)
