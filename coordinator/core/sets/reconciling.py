"""One set is looked at: what can be repaired is, what may not go on ends, what has turned is told.

Whatever depends on time alone is looked at again when that time has come.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coordinator.core.sets.agenda import Agenda
from coordinator.core.sets.decisions import CancelRepair, CreateRepair, SetChange, SetCommand
from coordinator.core.sets.diagnosis import AllKnown, look_over
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.looking import LATER_SECONDS, Looking
from coordinator.core.sets.telling import Telling
from coordinator.core.sets.turns import Turns


@dataclass(slots=True)
class LookedAt:
    """What one look at a set leads to."""

    commands: list[SetCommand] = field(default_factory=list)
    changes: list[SetChange] = field(default_factory=list)


class Reconciling:
    """Looks at sets; only who leads makes something of what it finds."""

    def __init__(
        self, known: AllKnown, turns: Turns, agenda: Agenda, telling: Telling, looking: Looking
    ) -> None:
        self._known = known
        self._turns = turns
        self._agenda = agenda
        self._telling = telling
        self._looking = looking

    def look(self, name: str, now: float, *, leads: bool) -> LookedAt:
        """See how a set is as a whole, and repair what can be."""
        found, repairs = LookedAt(), self._known.repairs
        head = self._known.membership.head(name)
        if head is None:
            return found
        self.see_pin(head, now)
        self._see_window(head, now, found)
        survey = look_over(self._known, name, now)
        rests = repairs.rests_until(name)
        may_begin = repairs.may_begin(name, self._known.runs) and rests <= now
        if leads and survey.due and may_begin:
            self._repair(head, survey.due, found)
        if leads and rests <= now:
            self._see_tags(head, now, found)
        if leads:
            found.changes += self._turns.look(name, survey.tally, now)
            if (when := self._turns.judged_from(name)) > now:
                self._agenda.touch(name, when)
        if survey.next_try is not None:
            self._agenda.touch(name, survey.next_try)
        if rests > now:
            self._agenda.touch(name, rests)
        return found

    def see_pin(self, head: SetHead, now: float) -> None:
        """Have a set looked at when its pin ends."""
        if (end := self._telling.see_pin(head, now)) is not None:
            self._agenda.touch(head.name, end)

    def _see_tags(self, head: SetHead, now: float, found: LookedAt) -> None:
        """Have the tags looked at where that is due, or see to it that it is seen then."""
        due = self._known.freshness.due(head)
        if due is None or not self._looking.may_pull(head, now):
            return
        look = self._looking.begin(head, now) if due <= now else None
        if look is None:
            self._agenda.touch(head.name, max(due, now + LATER_SECONDS))
        else:
            found.commands.append(look)

    def _see_window(self, head: SetHead, now: float, found: LookedAt) -> None:
        """End what a set may not go on with, and look again when a window begins or ends."""
        window = self._known.windows.of(head, now)
        if window is None:
            return
        if window.turns is not None:
            self._agenda.touch(head.name, window.turns)
        for task in self._known.repairs.tasks(head.name):
            if self._known.is_outside(head.name, task, now) and self._known.repairs.drop_one(task):
                found.commands.append(CancelRepair(task))

    def _repair(self, head: SetHead, nodes: list[str], found: LookedAt) -> None:
        self._known.repairs.asked(head.name)
        always = any(self._known.is_outdated(head.name, node) for node in nodes)
        found.commands.append(CreateRepair(head, tuple(nodes), always=always))
