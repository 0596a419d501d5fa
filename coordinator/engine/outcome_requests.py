"""Agents' outcomes: checked, stored, and answered, by any replica.

An agent has no right on the store's subjects. It asks, and what it says counts only of its own
node, for a task that has started, and for the attempt that is the next one. Whatever is stored, the
core acts upon it when it is read back. Nobody is answered but at the asking agent's own inbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import msgspec

from common import subjects
from common.bus import BusError, Conflict, NotConnected, Received
from common.logs import Log, RateLimitedLog
from common.messages import (
    NOT_DECODABLE,
    AttemptNumber,
    Outcome,
    OutcomeAnswer,
    OutcomeRequest,
    OutcomeResult,
    TaskId,
)
from common.reasons import clip
from common.subjects import MAX_MESSAGE_BYTES, AgentAddress, AttemptKey
from common.text import Text, fields_of
from common.texts import (
    OUTCOME_NO_VERDICT,
    OUTCOME_NOT_DUE,
    OUTCOME_NOT_ITS_NODE,
    OUTCOME_NOT_UNDERSTOOD,
    OUTCOME_TOO_EARLY,
    OUTCOME_TOO_LARGE,
    OUTCOME_TOO_MANY,
    STORE_UNUSABLE,
    TASK_LOADING,
    TASK_UNKNOWN,
    TASK_UNREADABLE,
)
from coordinator.core.node_run import OVER
from coordinator.core.run import UNDECODABLE, TaskRun
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.faults import Faults
from coordinator.store import StoredHead

log = Log(__name__)
refusals = RateLimitedLog(log)

MOST_OF_A_NODE: Final = 4
"""Requests of one node that are looked at at once; an agent has one on its way, and after a change
of its instance or an answer that did not come another."""
MOST_AT_ONCE: Final = 4096

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OutcomeRequest).decode


class _Attempt(msgspec.Struct):
    """A request of which the outcome itself is not looked at."""

    task: TaskId
    attempt: AttemptNumber


_decode_attempt = msgspec.json.Decoder(_Attempt).decode

STORED: Final = OutcomeAnswer(result=OutcomeResult.STORED)
DECIDED: Final = OutcomeAnswer(result=OutcomeResult.DECIDED)


class Answers(Protocol):
    """What is needed of the bus."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""


class OutcomeWriter(Protocol):
    """What is needed of the store; errors as there."""

    async def store_outcome(self, key: AttemptKey, outcome: Outcome) -> None:
        """Decide an attempt. Raises Conflict where somebody has decided it already."""

    async def is_decided(self, key: AttemptKey) -> bool:
        """Whether an attempt has an outcome."""

    async def head_revision(self, task: str) -> int:
        """The revision of a head, readable or not; 0 where there is none."""


class KnownHeads(Protocol):
    """What is needed of the table of tasks."""

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head of a task."""

    def stored(self, task_id: str) -> StoredHead | None:
        """The same with its revision."""

    def is_over(self, task_id: str) -> bool:
        """Whether a task is known, and has ended."""


class LooksUp(Protocol):
    """Looks for what is not known here yet."""

    async def find(self, task: str) -> None:
        """Bring the table up to date about one task. Raises BusError."""

    async def run(self, task: str) -> TaskRun | None:
        """The run of a running task; None where it has just ended. Raises TimeoutError."""


class _Refused(Exception):  # noqa: N818 -- an answer, said from wherever it is found
    """Why an outcome is not stored; ``again``: that may pass."""

    def __init__(self, text: Text, *, again: bool = False) -> None:
        super().__init__(text.message)
        self.answer = OutcomeAnswer(result=OutcomeResult.REFUSED, again=again, **fields_of(text))


class OutcomeRequests:
    """Takes requests in; ``on_request`` is for the bus."""

    def __init__(
        self,
        *,
        bus: Answers,
        store: OutcomeWriter,
        tasks: KnownHeads,
        runs: Mapping[str, TaskRun],
        lookups: LooksUp,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        failed: Callable[[BusError], None],
        on_poison: Callable[[str], None],
        faults: Faults,
    ) -> None:
        """``runs``: the running tasks; ``failed`` is told when the store does not do its work."""
        self._bus = bus
        self._store = store
        self._tasks = tasks
        self._runs = runs
        self._lookups = lookups
        self._spawn = spawn
        self._failed = failed
        self._on_poison = on_poison
        self._faults = faults
        self._of_node: Counter[str] = Counter()
        self._in_work = 0

    def on_request(self, received: Received) -> None:
        """Take a message in. Raises ValueError for what is not answered at all."""
        address = subjects.parse_outcome(received.subject)
        if address is None:
            raise ValueError("not the subject of a request to store an outcome")
        inbox = subjects.parse_agent_inbox(received.reply)
        if inbox is None or inbox.node != address.node:
            raise ValueError("its answer would not go to the agent that asks")
        try:
            key, outcome = self._read(address, received.data)
            self._check_load(address.node)
        except _Refused as refused:
            self._answer(received.reply, address, refused.answer)
            return
        self._of_node[address.node] += 1
        self._in_work += 1
        self._spawn(self._store_and_answer(received.reply, address, key, outcome))

    def _read(self, address: AgentAddress, data: bytes) -> tuple[AttemptKey, Outcome]:
        if len(data) > MAX_MESSAGE_BYTES:
            self._on_poison("outcome")
            raise _Refused(OUTCOME_TOO_LARGE(size=len(data), limit=MAX_MESSAGE_BYTES))
        try:
            request = _decode(data)
        except NOT_DECODABLE as why:
            self._on_poison("outcome")
            return self._read_attempt(address, data, str(why)), UNDECODABLE
        if request.outcome.removed or not request.outcome.instance:
            raise _Refused(OUTCOME_NO_VERDICT())
        return AttemptKey(request.task, address.node, request.attempt), request.outcome

    @staticmethod
    def _read_attempt(address: AgentAddress, data: bytes, why: str) -> AttemptKey:
        """Whose outcome this is, which nobody can read: it counts as a failure of its attempt."""
        try:
            attempt = _decode_attempt(data)
        except NOT_DECODABLE:
            raise _Refused(OUTCOME_NOT_UNDERSTOOD(why=clip(why))) from None
        return AttemptKey(attempt.task, address.node, attempt.attempt)

    def _check_load(self, node: str) -> None:
        if self._of_node[node] >= MOST_OF_A_NODE or self._in_work >= MOST_AT_ONCE:
            raise _Refused(OUTCOME_TOO_MANY(), again=True)

    async def _store_and_answer(
        self, reply: str, address: AgentAddress, key: AttemptKey, outcome: Outcome
    ) -> None:
        try:
            # Of a fault the agent hears nothing, and asks again.
            with self._faults.kept("outcome request"):
                self._answer(reply, address, await self._answer_to(key, outcome))
        finally:
            self._in_work -= 1
            self._of_node[key.node] -= 1
            if not self._of_node[key.node]:
                del self._of_node[key.node]

    async def _answer_to(self, key: AttemptKey, outcome: Outcome) -> OutcomeAnswer:
        try:
            return await self._decide(key, outcome)
        except _Refused as refused:
            return refused.answer
        except BusError as why:
            self._failed(why)
            return _Refused(STORE_UNUSABLE(why=why.cause), again=True).answer

    async def _decide(self, key: AttemptKey, outcome: Outcome) -> OutcomeAnswer:
        """Store an outcome if it may be. Raises _Refused and BusError."""
        run = await self._run_of(key.task)
        if run is None:
            return DECIDED
        node = run.by_name.get(key.node)
        if node is None:
            raise _Refused(OUTCOME_NOT_ITS_NODE(node=key.node))
        if node.phase in OVER:
            return DECIDED
        if key.attempt > node.next_attempt:
            # The leader, or another replica, may have read more of the store than this one.
            before = key._replace(attempt=key.attempt - 1)
            if not await self._store.is_decided(before):
                raise _Refused(OUTCOME_NOT_DUE(attempt=key.attempt, due=before.attempt))
        try:
            await self._store.store_outcome(key, outcome)
        except Conflict:
            return DECIDED
        except ValueError as why:  # what is kept of it may be longer than what was sent
            raise _Refused(OUTCOME_NOT_UNDERSTOOD(why=clip(str(why)))) from None
        return STORED

    async def _run_of(self, task: str) -> TaskRun | None:
        """The run of a task that has started; None where it is over. Raises as ``_decide``."""
        run = self._runs.get(task)
        if run is not None:
            return run
        if self._tasks.is_over(task):
            return None  # agents ask again: the head of each stays packed
        head = self._tasks.head(task)
        if head is None or head.status is TaskStatus.PENDING:
            await self._lookups.find(task)
            head = self._tasks.head(task)
        if head is None or head.status is TaskStatus.PENDING:
            raise await self._not_started(task)
        if head.status.is_final:
            return None
        try:
            return await self._lookups.run(task)
        except TimeoutError:
            raise _Refused(TASK_LOADING(), again=True) from None

    async def _not_started(self, task: str) -> _Refused:
        """Why a task of which no start can be read has no outcome. Raises BusError."""
        known = self._tasks.stored(task)
        revision = 0 if known is None else known.revision
        if await self._store.head_revision(task) > revision:
            # A newer version may have written it: another replica can read it, or this one soon.
            return _Refused(TASK_UNREADABLE(), again=True)
        return _Refused(TASK_UNKNOWN() if known is None else OUTCOME_TOO_EARLY())

    def _answer(self, reply: str, address: AgentAddress, answer: OutcomeAnswer) -> None:
        if answer.result is OutcomeResult.REFUSED and not answer.again:
            refusals.warning(
                answer.message_code, "an outcome is refused", node=address.node, why=answer.message
            )
        try:
            self._bus.publish(reply, _encode(answer))
        except NotConnected:
            log.debug("not connected: an agent is not answered, and asks again")
