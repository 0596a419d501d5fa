"""Query parameters. One that is empty counts as absent, one that is unknown is not looked at."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from multidict import MultiMapping

from common import texts
from common.text import Text
from coordinator.api.faults import fault, quoted
from coordinator.api.problems import bad_request
from coordinator.api.task_search import TaskSearch, TaskSort
from coordinator.core.task import LATEST, Requirement, TaskStatus
from coordinator.documents import NODE_STATES, TASK_STATUSES, Fault
from coordinator.label_selector import InvalidSelector, parse_selector

Query = MultiMapping[str]

LARGEST_OFFSET: Final = 2**53 - 1
"""The largest whole number that every JSON reader knows."""
FAULTS_NAMED: Final = 100
LONGEST_TEXT: Final = 512
"""Characters of a text that is searched for: no image reference is longer."""
TASK_SORTS: Final = tuple(TaskSort)
_DIGITS: Final = re.compile(r"[0-9]{1,16}")


class PageSizes(NamedTuple):
    """How many entries an answer has where none says, and at most."""

    default: int
    most: int


TASKS: Final = PageSizes(10, 100)
SETS: Final = PageSizes(10, 100)
NODES: Final = PageSizes(100, 1000)
AUDIT: Final = PageSizes(100, 1000)
CREDENTIALS: Final = PageSizes(100, 1000)
PAST: Final = PageSizes(20, 100)


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

    def search(self) -> TaskSearch:
        """Which tasks are wanted, and in which order."""
        sort = self._query.get("sort", "") or TaskSort.NEWEST
        if sort not in TASK_SORTS:
            wrong = texts.VALUE_NOT_CHOICE(choices=", ".join(TASK_SORTS), got=quoted(sort))
            self._fault("sort", wrong)
            sort = TaskSort.NEWEST
        return TaskSearch(
            statuses=frozenset(map(TaskStatus, self._several("status", TASK_STATUSES))),
            image=self.text("image"),
            text=self.text("q"),
            node=self.text("node"),
            created_by=self.text("createdBy"),
            set=self.text("set"),
            since=self.moment("since"),
            until=self.moment("until"),
            ended_since=self.moment("endedSince"),
            sort=TaskSort(sort),
            after=self.text("after"),
        )

    def states(self, known: Collection[str] = NODE_STATES) -> frozenset[str]:
        """``state``: known states of nodes, of a task unless told otherwise."""
        return self._several("state", known)

    def _several(self, name: str, known: Collection[str]) -> frozenset[str]:
        """Words out of those that are known, with commas between or given several times."""
        given = ",".join(self._query.getall(name, [])).split(",")
        wanted = frozenset(text.strip() for text in given) - {""}
        strange = sorted(wanted.difference(known))[:FAULTS_NAMED]
        for text in strange:
            choices = ", ".join(known)
            self._fault(name, texts.VALUE_NOT_CHOICES(choices=choices, got=quoted(text)))
        return wanted.intersection(known)

    def text(self, name: str) -> str:
        """A text of the length that an image reference may have, at most."""
        text = self._query.get(name, "").strip()
        if len(text) > LONGEST_TEXT:
            got = quoted(text)
            self._fault(name, texts.VALUE_NOT_SHORT_TEXT(most=LONGEST_TEXT, got=got))
        return text[:LONGEST_TEXT]

    def selector(self) -> tuple[Requirement, ...]:
        """``selector``: a label selector as kubectl takes it."""
        try:
            return parse_selector(self._query.get("selector", ""))
        except InvalidSelector as why:
            self._fault("selector", why.text)
            return ()

    def flag(self, name: str) -> bool:
        """``true`` or ``false``."""
        text = self._query.get(name, "") or "false"
        if text not in {"true", "false"}:
            self._fault(name, texts.VALUE_NOT_FLAG(got=quoted(text)))
        return text == "true"

    def moment(self, name: str) -> int:
        """A time as RFC 3339 writes it, in milliseconds since 1970; 0 where there is none."""
        text = self._query.get(name, "")
        if not text:
            return 0
        found = moment(text)
        if found is None:
            self._fault(name, texts.VALUE_NOT_TIME(got=quoted(text)))
        return found or 0

    def _number(self, name: str, most: int) -> int:
        text = self._query.get(name, "") or "0"
        number = int(text) if _DIGITS.fullmatch(text) else -1
        if not 0 <= number <= most:
            wrong = texts.VALUE_NOT_NUMBER(least=0, most=most, got=quoted(text))
            self._fault(name, wrong)
        return number

    def _fault(self, name: str, text: Text) -> None:
        if len(self._faults) < FAULTS_NAMED:
            self._faults.append(fault(f"?{name}", text))


def moment(text: str) -> int | None:
    """A time as RFC 3339 writes it, in milliseconds since 1970; None for what is none since."""
    try:
        found = datetime.fromisoformat(text)
        milliseconds = int(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return milliseconds if found.tzinfo is not None and 0 <= milliseconds <= LATEST else None
