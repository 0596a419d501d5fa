"""Asks the coordinators, whichever of them hears it, to store outcomes, and understands the answer.

An agent has no right on the store's subjects: where it published itself, the store would send its
acknowledgement to any subject that the agent names, unchecked.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent.bus import Calls
from common import subjects
from common.bus import BusError
from common.messages import NOT_DECODABLE, OutcomeAnswer, OutcomeResult
from common.reasons import clip
from common.subjects import AgentAddress, AttemptKey

ANSWER_SECONDS: Final = 5.0
"""A coordinator may have died meanwhile. It waits longer for a store that elects a leader, but to
ask again harms nothing."""

_decode = msgspec.json.Decoder(OutcomeAnswer).decode


class NotStoredYet(BusError):  # noqa: N818 -- named as the bus's own
    """A coordinator could not store it, for a reason that may pass."""


class OutcomeRequests:
    """The requests of one agent instance. Open from ``open`` to ``close``."""

    def __init__(self, bus: Calls, address: AgentAddress) -> None:
        self._bus = bus
        self._subject = subjects.outcome(*address)
        self._inbox = bus.open_inbox(subjects.agent_inbox(*address))

    def close(self) -> None:
        """Take no more answers."""
        self._inbox.close()

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""
        await self._bus.wait_connected()

    async def store(self, key: AttemptKey, outcome: bytes) -> OutcomeAnswer:
        """Have an encoded outcome stored: the answer, unless it is to be asked for again.

        Raises BusError where nobody answers, or nobody can store it at this moment, and ValueError
        for one that is too large for a message.
        """
        request = msgspec.json.encode(
            {"task": key.task, "attempt": key.attempt, "outcome": msgspec.Raw(outcome)}
        )
        data = await self._inbox.call(self._subject, request, ANSWER_SECONDS)
        try:
            answer = _decode(data)
        except NOT_DECODABLE as why:
            raise NotStoredYet(f"the answer is not understood: {clip(str(why))}") from why
        if answer.result is OutcomeResult.REFUSED and answer.again:
            raise NotStoredYet(clip(answer.message))
        return answer
