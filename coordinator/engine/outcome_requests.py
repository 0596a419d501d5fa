"""Agents' outcomes: checked, stored, and answered, by any replica.

An agent has no right on the store's subjects. It asks, and what it says counts only of its own
node, for a task that has started, and for the attempt that is the next one. Whatever is stored, the
core acts upon it when it is read back. Nobody is answered but at the asking agent's own inbox.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from common import subjects
from common.bus import (
    BusError,
    Conflict,
    Electing,
    NotConnected,
    OnStored,
    Received,
    StoreUnavailable,
)
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
MOST_AT_ONCE: Final = 1024
"""Requests that are looked at at once. The others wait for their turn: a store that syncs each
message takes some 3,600 a second, and none of these may wait for longer than the store's answer."""
MOST_WAITING: Final = 16_384
"""Requests that wait for their turn; who comes later is to ask again."""
MOST_WAITING_BYTES: Final = 32 * 1024 * 1024

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OutcomeRequest).decode


class _Attempt(msgspec.Struct):
    """A request of which the outcome itself is not looked at."""

    task: TaskId
    attempt: AttemptNumber


_decode_attempt = msgspec.json.Decoder(_Attempt).decode

STORED: Final = OutcomeAnswer(result=OutcomeResult.STORED)
DECIDED: Final = OutcomeAnswer(result=OutcomeResult.DECIDED)
_ENCODED: Final = {answer.result: _encode(answer) for answer in (STORED, DECIDED)}


class Answers(Protocol):
    """What is needed of the bus."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""


class OutcomeWriter(Protocol):
    """What is needed of the store; errors as there."""

    async def store_outcome(self, key: AttemptKey, outcome: Outcome) -> None:
        """Decide an attempt. Raises Conflict where somebody has decided it already."""

    def decide_soon(self, key: AttemptKey, outcome: Outcome, on_decided: OnStored) -> None:
        """The same; what comes of it goes to a callback. Raises StoreUnavailable, ValueError."""

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


class _AgentAsks(NamedTuple):
    """What an agent asks for, and where the answer goes to."""

    reply: str
    address: AgentAddress
    data: bytes


class OutcomeRequests:
    """Takes requests in; ``on_request`` is for the bus.

    Nearly all are decided at once, and need no more than a callback for the store's answer: of ten
    thousand outcomes a task of asyncio for each is half of what they cost. Where something has
    to be read first a request goes the long way (``_go_long_way``).
    """

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
        self._waiting: deque[_AgentAsks] = deque()
        self._waiting_bytes = 0

    def on_request(self, received: Received) -> None:
        """Take a message in. Raises ValueError for what is not answered at all."""
        address = subjects.parse_outcome(received.subject)
        if address is None:
            raise ValueError("not the subject of a request to store an outcome")
        inbox = subjects.parse_agent_inbox(received.reply)
        if inbox is None or inbox.node != address.node:
            raise ValueError("its answer would not go to the agent that asks")
        request = _AgentAsks(received.reply, address, received.data)
        try:
            self._check_load(request)
        except _Refused as refused:
            self._answer(request, refused.answer)
            return
        self._of_node[address.node] += 1
        self._waiting.append(request)
        self._waiting_bytes += len(request.data)
        self._take_turns()

    def close(self) -> None:
        """Begin with nothing more: who waits for its turn asks again."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def _check_load(self, request: _AgentAsks) -> None:
        size = len(request.data)
        if size > MAX_MESSAGE_BYTES:
            self._on_poison("outcome")
            raise _Refused(OUTCOME_TOO_LARGE(size=size, limit=MAX_MESSAGE_BYTES))
        if (
            self._of_node[request.address.node] >= MOST_OF_A_NODE
            or len(self._waiting) >= MOST_WAITING
            or self._waiting_bytes + size > MOST_WAITING_BYTES
        ):
            raise _Refused(OUTCOME_TOO_MANY(), again=True)

    def _take_turns(self) -> None:
        """Begin with those that wait, as many as may be in work."""
        while self._waiting and self._in_work < MOST_AT_ONCE:
            request = self._waiting.popleft()
            self._waiting_bytes -= len(request.data)
            self._in_work += 1
            # Of a fault the agent hears nothing, and asks again.
            with self._faults.kept("outcome request"):
                self._begin(request)

    def _begin(self, request: _AgentAsks) -> None:
        try:
            key, outcome = self._read(request.address, request.data)
            if self._is_next(key):
                decided = partial(self._decided, request, key, outcome)
                self._store.decide_soon(key, outcome, decided)
            else:
                self._spawn(self._go_long_way(request, key, outcome))
        except _Refused as refused:
            self._end(request, refused.answer)
        except StoreUnavailable as why:
            self._end(request, self._unusable(why))
        except ValueError as why:  # what is kept of it may be longer than what was sent
            self._end(request, _Refused(OUTCOME_NOT_UNDERSTOOD(why=clip(str(why)))).answer)
        except BaseException:
            self._end(request, None)
            raise

    def _is_next(self, key: AttemptKey) -> bool:
        """Whether an attempt is due, as far as this replica knows without asking anybody."""
        run = self._runs.get(key.task)
        node = None if run is None else run.by_name.get(key.node)
        return node is not None and node.phase not in OVER and key.attempt <= node.next_attempt

    def _decided(
        self, request: _AgentAsks, key: AttemptKey, outcome: Outcome, stored: int | BusError
    ) -> None:
        """The store has answered."""
        if isinstance(stored, Electing):
            self._spawn(self._go_long_way(request, key, outcome))
            return
        if isinstance(stored, int):
            answer = STORED
        elif isinstance(stored, Conflict):
            answer = DECIDED
        else:
            answer = self._unusable(stored)
        self._end(request, answer)
        self._take_turns()

    def _end(self, request: _AgentAsks, answer: OutcomeAnswer | None) -> None:
        node = request.address.node
        self._in_work -= 1
        self._of_node[node] -= 1
        if not self._of_node[node]:
            del self._of_node[node]
        if answer is not None:
            self._answer(request, answer)

    def _unusable(self, why: BusError) -> OutcomeAnswer:
        self._failed(why)
        return _Refused(STORE_UNUSABLE(why=why.cause), again=True).answer

    def _read(self, address: AgentAddress, data: bytes) -> tuple[AttemptKey, Outcome]:
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

    async def _go_long_way(self, request: _AgentAsks, key: AttemptKey, outcome: Outcome) -> None:
        """Read what this replica lacks, and store with patience."""
        answer: OutcomeAnswer | None = None
        try:
            with self._faults.kept("outcome request"):
                answer = await self._answer_to(key, outcome)
        finally:
            self._end(request, answer)
            self._take_turns()

    async def _answer_to(self, key: AttemptKey, outcome: Outcome) -> OutcomeAnswer:
        try:
            return await self._decide(key, outcome)
        except _Refused as refused:
            return refused.answer
        except BusError as why:
            return self._unusable(why)

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

    def _answer(self, request: _AgentAsks, answer: OutcomeAnswer) -> None:
        if answer.result is OutcomeResult.REFUSED and not answer.again:
            node = request.address.node
            refusals.warning(
                answer.message_code, "an outcome is refused", node=node, why=answer.message
            )
        try:
            self._bus.publish(request.reply, _ENCODED.get(answer.result) or _encode(answer))
        except NotConnected:
            log.debug("not connected: an agent is not answered, and asks again")
