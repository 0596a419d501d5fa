"""Query parameters. One that is empty counts as absent, one that is unknown is not looked at."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from multidict import MultiMapping

from coordinator.api.faults import clipped
from coordinator.api.label_selector import parse_selector
from coordinator.api.problems import bad_request
from coordinator.core.task import Requirement, TaskStatus
from coordinator.documents import NODE_STATES, TASK_STATUSES, Fault

Query = MultiMapping[str]

LARGEST_OFFSET: Final = 2**53 - 1
"""The largest whole number that every JSON reader knows."""
_DIGITS: Final = re.compile(r"[0-9]{1,16}")


class PageSizes(NamedTuple):
    """How many entries an answer has where none says, and at most."""

    default: int
    most: int


TASKS: Final = PageSizes(10, 100)
NODES: Final = PageSizes(100, 1000)


class Page(NamedTuple):
    """Which part of a list is wanted."""

    limit: int
    offset: int

    def of(self, length: int) -> slice:
        """The part of a list that is so long; an offset past its end is an empty part."""
        start = min(self.offset, length)
        return slice(start, start + self.limit)


class Reader:
    """Reads parameters one by one and remembers every fault; ``done`` refuses if there is one."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._faults: list[Fault] = []

    def done(self) -> None:
        """Raise a Refusal that names all faults found."""
        if self._faults:
            raise bad_request(self._faults)

    def page(self, sizes: PageSizes) -> Page:
        """``limit`` (0 counts as absent) and ``offset``."""
        limit = self._number("limit", sizes.most) or sizes.default
        return Page(limit, self._number("offset", LARGEST_OFFSET))

    def status(self) -> TaskStatus | None:
        """``status``: one status of tasks."""
        text = self._query.get("status", "")
        if text and text not in TASK_STATUSES:
            self._fault("status", f"must be one of {', '.join(TASK_STATUSES)}, not", text)
            return None
        return TaskStatus(text) if text else None

    def states(self) -> frozenset[str]:
        """``state``: states of nodes, with commas between them or given several times."""
        texts = ",".join(self._query.getall("state", [])).split(",")
        states = frozenset(text.strip() for text in texts) - {""}
        for text in sorted(states.difference(NODE_STATES)):
            self._fault("state", f"must be out of {', '.join(NODE_STATES)}, not", text)
        return states

    def selector(self) -> tuple[Requirement, ...]:
        """``selector``: a label selector as kubectl takes it."""
        try:
            return parse_selector(self._query.get("selector", ""))
        except ValueError as why:
            self._faults.append(Fault(field="?selector", message=str(why)))
            return ()

    def flag(self, name: str) -> bool:
        """``true`` or ``false``."""
        text = self._query.get(name, "") or "false"
        if text not in {"true", "false"}:
            self._fault(name, "must be true or false, not", text)
        return text == "true"

    def _number(self, name: str, most: int) -> int:
        text = self._query.get(name, "") or "0"
        number = int(text) if _DIGITS.fullmatch(text) else -1
        if not 0 <= number <= most:
            self._fault(name, f"must be a whole number from 0 to {most:,}, not", text)
        return number

    def _fault(self, name: str, demand: str, text: str) -> None:
        self._faults.append(Fault(field=f"?{name}", message=f'{demand} "{clipped(text)}"'))
