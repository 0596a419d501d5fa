"""Whatever happens in whatever order, the ledger keeps its promises.

A machine drives it with commands of a careless leader and the answers of a slow runtime, and
checks after every step what must hold then.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.events import (
    BytesArrived,
    CommandReceived,
    DownloadBegan,
    Event,
    Forgotten,
    OutcomeSettled,
    PullEnded,
    ShutdownRequested,
    TimePassed,
)
from agent.instructions import (
    Deliver,
    Discard,
    Forget,
    Instruction,
    SendReply,
    StartPull,
    StopPull,
    WakeAt,
)
from agent.ledger import Ledger
from agent.runtime.protocol import Bytes
from common.messages import Assign, AssignedImage, Cancel, ImageOutcome, ImageState
from common.reasons import Reason
from common.subjects import AttemptKey

pytestmark = pytest.mark.pure

PARALLEL = 2
STALL = 30.0
NODE = "node-1"

tasks = st.sampled_from([f"task-20260116-151234-0000000{n}" for n in range(3)])
images = st.lists(st.sampled_from(["r/a", "r/b", "r/c"]), min_size=1, max_size=3, unique=True)
attempts = st.integers(1, 3)
endings = st.sampled_from(
    [
        (ImageState.PRESENT, None),
        (ImageState.PULLED, None),
        (ImageState.FAILED, Reason.IMAGE_NOT_FOUND),
        (ImageState.FAILED, Reason.REGISTRY_UNREACHABLE),
    ]
)


class LedgerMachine(RuleBasedStateMachine):
    """The world around one ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(node=NODE, instance="0" * 16, parallel=PARALLEL, stall_seconds=STALL)
        self.now = 0.0
        self.alarm = float("inf")
        self.pulling: set[str] = set()
        self.stopping: set[str] = set()
        self.forgetting: set[str] = set()
        self.unsent: set[AttemptKey] = set()
        self.accepted: dict[AttemptKey, list[str]] = {}
        """Attempts that were accepted, by their images, until they end one way or another."""
        self.decided: set[AttemptKey] = set()
        self.cancelled: set[str] = set()
        self.stopped = False

    def tell(self, event: Event) -> list[Instruction]:
        """Let something happen, and carry out what comes of it."""
        instructions = self.ledger.handle(event, self.now)
        for instruction in instructions:
            self.carry_out(instruction)
        return instructions

    def carry_out(self, instruction: Instruction) -> None:
        """Do as told, and complain about what makes no sense."""
        match instruction:
            case StartPull(reference):
                assert reference not in self.pulling | self.stopping | self.forgetting
                self.pulling.add(reference)
                assert len(self.pulling | self.stopping) <= PARALLEL
            case StopPull(reference):
                self.pulling.remove(reference)
                self.stopping.add(reference)
            case Forget(reference):
                assert reference not in self.pulling | self.stopping | self.forgetting
                self.forgetting.add(reference)
            case Deliver(key, outcome):
                assert [image.image for image in outcome.images] == self.accepted.pop(key)
                assert key not in self.decided
                self.unsent.add(key)
            case Discard(key):
                self.unsent.remove(key)
            case WakeAt(time):
                assert time >= self.now
                self.alarm = time

    # ── the leader ──

    @rule(task=tasks, attempt=attempts, wanted=images, always=st.booleans())
    def assign(self, task: str, attempt: int, wanted: list[str], always: bool) -> None:
        """Assign anything at any time."""
        work = Assign(
            epoch=1,
            task=task,
            attempt=attempt,
            images=[AssignedImage(name=f"name of {image}", reference=image) for image in wanted],
            always_pull=always,
            pull_timeout_seconds=100,
        )
        before = {hold.task: hold.attempt for hold in self.ledger.holds(self.now)}
        key = AttemptKey(task, NODE, attempt)
        expected = {
            k: names for k, names in self.accepted.items() if k.task != task or attempt <= k.attempt
        }
        instructions = self.ledger.handle(CommandReceived(work, "inbox"), self.now)
        (answer,) = [i for i in instructions if isinstance(i, SendReply)]
        if answer.reply.accepted:
            assert not self.stopped
            assert task not in self.cancelled
            if before.get(task) != attempt and key not in self.decided:
                self.accepted = {**expected, key: [f"name of {image}" for image in wanted]}
        for instruction in instructions:
            self.carry_out(instruction)

    @rule(task=tasks)
    def cancel_task(self, task: str) -> None:
        """Cancel a whole task, known or not."""
        self.cancelled.add(task)
        self.accepted = {k: names for k, names in self.accepted.items() if k.task != task}
        self.tell(CommandReceived(Cancel(epoch=1, task=task), "inbox"))

    @rule(task=tasks, attempt=attempts)
    def cancel_attempt(self, task: str, attempt: int) -> None:
        """Cancel one attempt, held or not."""
        self.accepted.pop(AttemptKey(task, NODE, attempt), None)
        self.tell(CommandReceived(Cancel(epoch=1, task=task, attempt=attempt), "inbox"))

    # ── the runtime and the store ──

    @precondition(lambda self: self.pulling)
    @rule(data=st.data(), done=st.integers(0, 100))
    def arrive(self, data: st.DataObject, done: int) -> None:
        """Bytes of a running pull, or the first sign of it."""
        reference = data.draw(st.sampled_from(sorted(self.pulling)))
        if done == 0:
            self.tell(DownloadBegan(reference, sees_bytes=True))
        else:
            self.tell(BytesArrived(reference, Bytes(done, 100)))

    @precondition(lambda self: self.pulling)
    @rule(data=st.data(), ending=endings)
    def end(self, data: st.DataObject, ending: tuple[ImageState, Reason | None]) -> None:
        """A running pull ends."""
        reference = data.draw(st.sampled_from(sorted(self.pulling)))
        self.pulling.remove(reference)
        state, reason = ending
        self.tell(PullEnded(ImageOutcome(image=reference, state=state, reason=reason)))

    @precondition(lambda self: self.stopping)
    @rule(data=st.data(), in_time=st.booleans())
    def stopped_at_last(self, data: st.DataObject, in_time: bool) -> None:
        """A pull that was stopped is over, or was over before."""
        reference = data.draw(st.sampled_from(sorted(self.stopping)))
        self.stopping.remove(reference)
        state = ImageState.CANCELLED if in_time else ImageState.PULLED
        self.tell(PullEnded(ImageOutcome(image=reference, state=state)))

    @precondition(lambda self: self.forgetting)
    @rule(data=st.data())
    def forgotten(self, data: st.DataObject) -> None:
        """Something is forgotten at last."""
        reference = data.draw(st.sampled_from(sorted(self.forgetting)))
        self.forgetting.remove(reference)
        self.tell(Forgotten(reference))

    @precondition(lambda self: self.unsent)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """An outcome is stored."""
        key = data.draw(st.sampled_from(sorted(self.unsent)))
        self.unsent.remove(key)
        self.decided.add(key)
        self.tell(OutcomeSettled(key))

    @rule(seconds=st.sampled_from([1.0, 29.0, 31.0, 101.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, and who asked to be woken is woken."""
        target = self.now + seconds
        while self.alarm <= target:
            self.now, self.alarm = self.alarm, float("inf")
            self.tell(TimePassed())
        self.now = target

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        """The program shall end."""
        self.stopped = True
        self.accepted.clear()
        self.tell(ShutdownRequested())

    # ── what must hold ──

    @invariant()
    def holds_what_is_owed(self) -> None:
        """Held is exactly what is in work or waits to be stored."""
        held = {AttemptKey(h.task, NODE, h.attempt) for h in self.ledger.holds(self.now)}
        assert held == self.accepted.keys() | self.unsent

    @invariant()
    def pulls_what_is_said(self) -> None:
        """What the heartbeat says is pulled is pulled."""
        assert set(self.ledger.pulling) == self.pulling

    @invariant()
    def keeps_no_place_free(self) -> None:
        """While work waits and a place is free, something that can begin has begun."""
        busy = self.stopping | self.forgetting
        if self.accepted and not self.pulling and not busy:
            pytest.fail(f"nothing works on {self.accepted}")

    @invariant()
    def nothing_is_overdue(self) -> None:
        """No pull outlives its time: an alarm is set for every running one."""
        assert not self.pulling or self.alarm <= self.now + 100

    def teardown(self) -> None:
        """In the end, everything that was accepted comes to an end."""
        for _ in range(100):
            for reference in sorted(self.stopping):
                self.stopping.remove(reference)
                self.tell(PullEnded(ImageOutcome(image=reference, state=ImageState.CANCELLED)))
            for reference in sorted(self.forgetting):
                self.forgetting.remove(reference)
                self.tell(Forgotten(reference))
            for reference in sorted(self.pulling):
                self.pulling.remove(reference)
                self.tell(PullEnded(ImageOutcome(image=reference, state=ImageState.PULLED)))
        assert not self.accepted
        assert not self.ledger.pulling


LedgerMachine.TestCase.settings = settings(
    max_examples=2 * settings().max_examples,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)
test_invariants = LedgerMachine.TestCase
