"""Answers that are good for some seconds, so that who knows is not asked at every request.

Bounded: the oldest go first. Whoever asks what is being asked already waits for the same answer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MOST: Final = 10_000


class KnownAnswers(Generic[T]):
    """Answers by question."""

    def __init__(
        self, seconds: Callable[[T], float], clock: Callable[[], float], most: int = MOST
    ) -> None:
        """``seconds`` says how long an answer is good; ``clock`` counts seconds and never jumps."""
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._known: OrderedDict[Hashable, tuple[T, float]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Future[T]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def at_hand(self, question: Hashable) -> T | None:
        """The answer that is known; None where it would have to be asked for."""
        known = self._known.get(question)
        return known[0] if known is not None and self._clock() < known[1] else None

    async def get(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer; what ``ask`` raises is raised, and not remembered."""
        known = self._known.get(question)
        if known is not None and self._clock() < known[1]:
            return known[0]
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = asyncio.ensure_future(self._ask(question, ask))
            asking.add_done_callback(partial(self._asked, question))
        # Shielded: one who asked goes away, and the others still want to know.
        return await asyncio.shield(asking)

    def _asked(self, question: Hashable, asking: asyncio.Future[T]) -> None:
        self._asking.pop(question, None)
        if not asking.cancelled():
            asking.exception()  # whoever asked may have gone away, and nobody else need know

    async def _ask(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        answer = await ask()
        self._known.pop(question, None)
        self._known[question] = answer, self._clock() + self._seconds(answer)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return answer
