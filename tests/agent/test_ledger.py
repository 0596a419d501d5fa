"""Events in, instructions out: no clock, no task, no sleep."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from agent.events import (
    BytesArrived,
    CommandReceived,
    DownloadBegan,
    Event,
    Forgotten,
    OutcomeFound,
    OutcomeSettled,
    PullEnded,
    ShutdownRequested,
    TimePassed,
)
from agent.instructions import (
    Announce,
    Deliver,
    Discard,
    Forget,
    Instruction,
    SendReply,
    StartPull,
    StopPull,
    WakeAt,
)
from agent.ledger import EPOCH_SECONDS, REMEMBER_LIMIT, REMEMBER_SECONDS, Ledger
from agent.runtime.protocol import Bytes
from common.messages import (
    Assign,
    AssignedImage,
    Cancel,
    Command,
    ImageOutcome,
    ImageProgress,
    ImageState,
    PullPhase,
    Reply,
    Report,
)
from common.reasons import Reason
from common.subjects import AttemptKey

pytestmark = pytest.mark.pure

T1, T2, T3, T4 = (f"task-20260116-151234-0000000{n}" for n in (1, 2, 3, 4))
NODE = "node-1"
INSTANCE = "0123456789abcdef"
STALL = 300.0


class Desk:
    """A ledger with a clock in the test's hand; answers and alarms are kept aside."""

    def __init__(self, parallel: int = 2) -> None:
        self.ledger = Ledger(node=NODE, instance=INSTANCE, parallel=parallel, stall_seconds=STALL)
        self.now = 0.0
        self.alarm = float("inf")
        self.reply = Reply(accepted=False)

    def tell(self, event: Event) -> list[Instruction]:
        """Tell the ledger what has happened; what it wants done, answers and alarms aside."""
        out: list[Instruction] = []
        for instruction in self.ledger.handle(event, self.now):
            match instruction:
                case SendReply(_, reply):
                    self.reply = reply
                case WakeAt(time):
                    self.alarm = time
                case _:
                    out.append(instruction)
        return out

    def command(self, command: Command) -> list[Instruction]:
        """Send a command that wants an answer."""
        return self.tell(CommandReceived(command, "inbox"))

    def at(self, now: float) -> list[Instruction]:
        """Let time pass; the ledger hears of it if it asked to."""
        self.now = now
        out: list[Instruction] = []
        while self.alarm <= now:
            self.alarm = float("inf")
            out += self.tell(TimePassed())
        return out

    def started(self, *references: str, sees_bytes: bool = True) -> None:
        """Let downloads begin."""
        for reference in references:
            assert self.tell(DownloadBegan(reference, sees_bytes)) == []


def assign(task: str, *images: str, attempt: int = 1, epoch: int = 1, **more: float) -> Assign:
    """Build an assignment of images by short names."""
    wanted = [AssignedImage(name=image, reference=f"r/{image}") for image in images]
    work = Assign(epoch=epoch, task=task, attempt=attempt, images=wanted)
    return msgspec.structs.replace(work, **more)


def cancel(task: str, attempt: int | None = None, epoch: int = 1) -> Cancel:
    """Build a cancel, of one attempt or of the whole task."""
    return Cancel(epoch=epoch, task=task, attempt=attempt)


def start(image: str, *, always: bool = False, keep: float = 1800) -> StartPull:
    """Expect a pull to be started."""
    return StartPull(f"r/{image}", always, keep)


def stop(image: str, reason: Reason = Reason.CANCELLED) -> StopPull:
    """Expect a pull to be stopped."""
    return StopPull(f"r/{image}", reason)


def forget(image: str) -> Forget:
    """Expect an interrupted pull to be forgotten."""
    return Forget(f"r/{image}")


def pulled(image: str) -> PullEnded:
    """Report success."""
    state = ImageState.PULLED
    return PullEnded(ImageOutcome(image=f"r/{image}", state=state, bytes=10, seconds=1.0))


def present(image: str) -> PullEnded:
    """Report that the image was there."""
    return PullEnded(ImageOutcome(image=f"r/{image}", state=ImageState.PRESENT))


def stopped(image: str) -> PullEnded:
    """Report that a pull was stopped as told."""
    return PullEnded(ImageOutcome(image=f"r/{image}", state=ImageState.CANCELLED))


def failed(image: str, reason: Reason) -> PullEnded:
    """Report a failure."""
    outcome = ImageOutcome(image=f"r/{image}", state=ImageState.FAILED, reason=reason)
    return PullEnded(outcome)


def key(task: str, attempt: int = 1) -> AttemptKey:
    """Name an attempt on this node."""
    return AttemptKey(task, NODE, attempt)


def outcome_of(out: Sequence[Instruction], task: str, attempt: int = 1) -> list[ImageOutcome]:
    """The images of the one outcome that is to be delivered for this attempt."""
    (deliver,) = [i for i in out if isinstance(i, Deliver)]
    assert deliver.key == key(task, attempt)
    assert deliver.outcome.instance == INSTANCE
    return deliver.outcome.images


def reasons(out: Sequence[Instruction], task: str) -> dict[str, Reason | None]:
    """Each image's reason in the one outcome that is to be delivered."""
    return {image.image: image.reason for image in outcome_of(out, task)}


def held(desk: Desk) -> list[tuple[str, int]]:
    """What the heartbeat says is held."""
    return [(hold.task, hold.attempt) for hold in desk.ledger.holds(desk.now)]


# ── assignments ──────────────────────────────────────────────────────────────────────────────


def test_one_outcome() -> None:
    """One assignment ends in one outcome in the order of its images."""
    desk = Desk()
    assert desk.command(assign(T1, "a", "b")) == [start("a"), start("b")]
    assert desk.reply == Reply(accepted=True, epoch=1)
    desk.now = 3
    assert desk.tell(present("b")) == []
    out = desk.tell(pulled("a"))
    assert [(i.image, i.state) for i in outcome_of(out, T1)] == [
        ("a", ImageState.PULLED),
        ("b", ImageState.PRESENT),
    ]
    (deliver,) = [i for i in out if isinstance(i, Deliver)]
    assert deliver.outcome.seconds == 3


def test_repeated_assignment() -> None:
    """A repeated assignment is accepted and starts nothing."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    assert desk.command(assign(T1, "a")) == []
    assert desk.reply.accepted


def test_decided_attempt() -> None:
    """An attempt that is stored already is accepted and done no more."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(pulled("a"))
    assert desk.command(assign(T1, "a")) == []
    assert held(desk) == [(T1, 1)], "its outcome is not stored yet"
    desk.tell(OutcomeSettled(key(T1)))
    assert held(desk) == []
    assert desk.command(assign(T1, "a")) == []
    assert desk.reply.accepted


def test_decided_attempt_is_known_after_a_newer_one_is_dropped() -> None:
    """An assignment that is late by two attempts, of which the newer was cancelled, is no work."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(pulled("a"))
    desk.tell(OutcomeSettled(key(T1)))
    desk.command(assign(T1, "a", attempt=3))
    desk.command(cancel(T1, attempt=3))
    desk.tell(stopped("a"))
    assert desk.command(assign(T1, "a")) == []
    assert held(desk) == []


def test_memory_ends() -> None:
    """After an hour a decided attempt is unknown again."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(pulled("a"))
    desk.tell(Forgotten("r/a"))
    desk.tell(OutcomeSettled(key(T1)))
    desk.at(REMEMBER_SECONDS)
    desk.command(Report(epoch=1))
    assert desk.command(assign(T1, "a")) == [start("a")]


def test_memory_bounded() -> None:
    """Memory is bounded."""
    desk = Desk()
    for number in range(REMEMBER_LIMIT + 5):
        desk.command(cancel(f"task-20260116-151234-{number:08x}"))
    desk.command(assign("task-20260116-151234-00000004", "a"))
    assert desk.reply.accepted, "the oldest are forgotten"
    desk.command(assign("task-20260116-151234-00000005", "a"))
    assert not desk.reply.accepted


def test_newer_attempt() -> None:
    """A newer attempt replaces the older one and its pull goes on."""
    desk = Desk()
    desk.command(assign(T1, "a", "b"))
    assert desk.command(assign(T1, "a", attempt=2)) == [stop("b")]
    assert held(desk) == [(T1, 2)]
    assert outcome_of(desk.tell(pulled("a")), T1, attempt=2)[0].state is ImageState.PULLED
    assert desk.tell(stopped("b")) == [], "an attempt that was replaced has no outcome"


def test_newer_attempt_undelivered() -> None:
    """A newer attempt discards the undelivered outcome of the older one."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(failed("a", Reason.TIMEOUT))
    assert desk.command(assign(T1, "a", attempt=2)) == [Discard(key(T1)), start("a")]


def test_older_attempt() -> None:
    """An older attempt than the one known is refused."""
    desk = Desk()
    desk.command(assign(T1, "a", attempt=2))
    assert desk.command(assign(T1, "a", attempt=1)) == []
    assert desk.reply.refusal == "attempt 2 is known here"
    desk.tell(pulled("a"))
    desk.tell(OutcomeSettled(key(T1, 2)))
    desk.command(assign(T1, "a", attempt=1))
    assert not desk.reply.accepted


@pytest.mark.parametrize(
    "work",
    [assign("no-task", "a"), assign(T1, "a", attempt=0), assign(T1)],
    ids=["task", "attempt", "images"],
)
def test_senseless_assignment(work: Assign) -> None:
    """An assignment that no outcome could answer is refused."""
    desk = Desk()
    assert desk.command(work) == []
    assert not desk.reply.accepted
    assert held(desk) == []


def test_older_epoch() -> None:
    """A command of an older epoch is refused and told the newer one."""
    desk = Desk()
    desk.command(Report(epoch=7))
    for command in (assign(T1, "a", epoch=6), cancel(T1, epoch=6), Report(epoch=6)):
        assert desk.command(command) == []
        assert not desk.reply.accepted
        assert desk.reply.epoch == 7
    assert desk.command(assign(T1, "a", epoch=7)) == [start("a")]


def test_an_epoch_that_nobody_repeats_ends() -> None:
    """One that never was, however large, keeps the real leader out for ten minutes."""
    desk = Desk()
    desk.command(Report(epoch=2**63 - 1))
    desk.at(EPOCH_SECONDS - 1.0)
    assert desk.command(assign(T1, "a", epoch=7)) == []
    desk.at(EPOCH_SECONDS)
    assert desk.command(assign(T1, "a", epoch=7)) == [start("a")]
    assert desk.reply == Reply(accepted=True, epoch=7)
    assert desk.command(assign(T2, "b", epoch=6)) == []


def test_report() -> None:
    """A report is answered by a heartbeat."""
    assert Desk().tell(CommandReceived(Report(epoch=1))) == [Announce()]


# ── one image, one pull ──────────────────────────────────────────────────────────────────────


def test_places_in_order() -> None:
    """No more pulls than allowed first come first served."""
    desk = Desk(parallel=2)
    assert desk.command(assign(T1, "a", "b", "c")) == [start("a"), start("b")]
    assert desk.command(assign(T2, "d")) == []
    assert desk.tell(present("b")) == [start("c")]
    assert desk.tell(present("a"))[-1] == start("d")


def test_shared_pull() -> None:
    """An image that two tasks want is pulled once."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    assert desk.command(assign(T2, "a")) == []
    out = desk.tell(pulled("a"))
    assert [i.key.task for i in out if isinstance(i, Deliver)] == [T1, T2]


def test_same_image_twice() -> None:
    """Two names of one image in one task are one pull."""
    desk = Desk()
    images = [AssignedImage(name=name, reference="r/a") for name in ("a", "a:latest")]
    assert desk.command(Assign(epoch=1, task=T1, attempt=1, images=images)) == [start("a")]
    assert [i.image for i in outcome_of(desk.tell(pulled("a")), T1)] == ["a", "a:latest"]


def test_cancel_of_shared() -> None:
    """A cancelled task leaves a shared pull running."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.command(assign(T2, "a"))
    assert desk.command(cancel(T1)) == []
    assert desk.command(cancel(T2)) == [stop("a")]


def test_always_joins_waiting() -> None:
    """Always makes a waiting pull ask the registry."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "x", "a"))
    desk.command(assign(T2, "a", always_pull=True))
    assert desk.tell(present("x")) == [start("a", always=True)]


def test_always_after_present() -> None:
    """Always is not content with present and goes first in the next round."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "a", "b"))
    desk.command(assign(T2, "a", always_pull=True))
    assert desk.tell(present("a")) == [start("a", always=True)]
    assert outcome_of(desk.tell(pulled("a")), T2)[0].state is ImageState.PULLED


def test_failure_beside_others() -> None:
    """One images failure does not stop the others."""
    desk = Desk()
    desk.command(assign(T1, "a", "b"))
    assert desk.tell(failed("a", Reason.IMAGE_NOT_FOUND)) == [forget("a")]
    out = desk.tell(pulled("b"))
    assert reasons(out, T1) == {"a": Reason.IMAGE_NOT_FOUND, "b": None}


# ── cancel ───────────────────────────────────────────────────────────────────────────────────


def test_cancel() -> None:
    """Cancel stops the pull forgets it and has no outcome."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    assert desk.command(cancel(T1)) == [stop("a")]
    assert desk.reply.accepted
    assert held(desk) == []
    assert desk.tell(stopped("a")) == [forget("a")]


def test_cancelled_is_remembered() -> None:
    """A cancelled task is refused for an hour."""
    desk = Desk()
    desk.command(cancel(T1))
    desk.command(assign(T1, "a"))
    assert desk.reply.refusal == "the task is cancelled"
    desk.at(REMEMBER_SECONDS)
    desk.command(Report(epoch=1))
    assert desk.command(assign(T1, "a")) == [start("a")]


def test_cancel_of_attempt() -> None:
    """The cancel of one attempt keeps its bytes for the next assignment."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    assert desk.command(cancel(T1, attempt=1)) == [stop("a")]
    assert desk.tell(stopped("a")) == []
    assert desk.command(assign(T1, "a")) == [start("a")]


def test_cancel_of_other_attempt() -> None:
    """The cancel of an attempt that is not held does nothing."""
    desk = Desk()
    desk.command(assign(T1, "a", attempt=2))
    assert desk.command(cancel(T1, attempt=1)) == []
    assert desk.command(cancel(T2, attempt=1)) == []
    assert held(desk) == [(T1, 2)]


@pytest.mark.parametrize("attempt", [None, 1])
def test_cancel_of_undelivered(attempt: int | None) -> None:
    """Cancel discards an outcome that is not delivered yet."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(pulled("a"))
    assert desk.command(cancel(T1, attempt)) == [Discard(key(T1))]
    assert desk.tell(OutcomeSettled(key(T1))) == [], "it was on its way already"
    assert held(desk) == []


def test_cancel_of_waiting() -> None:
    """Cancel takes waiting images out of the queue."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "a", "b"))
    desk.command(assign(T2, "c"))
    assert desk.command(cancel(T1)) == [stop("a")]
    assert desk.tell(stopped("a")) == [forget("a"), start("c")]


def test_stopping_keeps_place() -> None:
    """A stopped pull keeps its place until it is over."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "a"))
    desk.command(assign(T2, "b"))
    assert desk.command(cancel(T1)) == [stop("a")]
    assert start("b") in desk.tell(stopped("a"))


def test_wanted_while_stopping() -> None:
    """An image wanted again while its pull is being stopped begins after it."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.command(cancel(T1))
    assert desk.command(assign(T2, "a")) == []
    assert desk.tell(stopped("a")) == [start("a")], "and resumes what the first one left"


def test_wanted_while_forgetting() -> None:
    """An image wanted again while it is being forgotten begins after that."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.command(cancel(T1))
    assert desk.tell(stopped("a")) == [forget("a")]
    assert desk.command(assign(T2, "a")) == []
    assert desk.tell(Forgotten("r/a")) == [start("a")]


def test_success_while_stopping() -> None:
    """A pull that succeeds while it is being stopped counts for nobody."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.command(cancel(T1))
    assert desk.tell(pulled("a")) == []


# ── what can be resumed ──────────────────────────────────────────────────────────────────────


def test_forgotten_at_the_end() -> None:
    """What is left of a failure that will not mend is forgotten."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    assert desk.tell(failed("a", Reason.UNAUTHORIZED))[0] == forget("a")
    assert not desk.ledger.claims("r/a")


@pytest.mark.parametrize("end", [pulled("a"), present("a")])
def test_nothing_to_forget(end: PullEnded) -> None:
    """An image that is there leaves nothing to forget."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    assert [type(i) for i in desk.tell(end)] == [Deliver]
    assert not desk.ledger.claims("r/a")


def test_kept_for_retry() -> None:
    """A failure that may be retried keeps its bytes until the task is cancelled."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(failed("a", Reason.REGISTRY_UNREACHABLE))
    desk.tell(OutcomeSettled(key(T1)))
    assert desk.ledger.claims("r/a")
    assert desk.command(cancel(T1)) == [forget("a")]
    assert not desk.ledger.claims("r/a")


def test_kept_for_two() -> None:
    """Bytes stay as long as one of two tasks may retry."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.command(assign(T2, "a"))
    desk.tell(failed("a", Reason.TIMEOUT))
    assert desk.command(cancel(T1)) == [Discard(key(T1))]
    assert desk.command(cancel(T2)) == [Discard(key(T2)), forget("a")]


def test_came_by_another_way() -> None:
    """An image that came by another way needs no bytes any more."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.tell(failed("a", Reason.TIMEOUT))
    desk.command(assign(T1, "a", attempt=2))
    assert forget("a") in desk.tell(present("a"))


# ── time ─────────────────────────────────────────────────────────────────────────────────────


def test_time_out() -> None:
    """A pull times out counted from its own beginning."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "a", "b", pull_timeout_seconds=60))
    assert desk.at(50) == []
    assert desk.tell(present("a")) == [start("b", keep=60)]
    assert desk.at(109) == []
    out = desk.at(110)
    assert out[0] == stop("b", Reason.TIMEOUT)
    assert reasons(out, T1) == {"a": None, "b": Reason.TIMEOUT}
    assert outcome_of(out, T1)[1].seconds == 60
    assert desk.tell(stopped("b")) == [], "its bytes wait for the retry"
    assert desk.ledger.claims("r/b")


def test_time_out_of_one_listener() -> None:
    """A listener that came later outlives the time out of the first."""
    desk = Desk()
    desk.command(assign(T1, "a", pull_timeout_seconds=60))
    desk.at(30)
    desk.command(assign(T2, "a", pull_timeout_seconds=60))
    assert reasons(desk.at(60), T1) == {"a": Reason.TIMEOUT}
    assert desk.ledger.pulling == ["r/a"]
    assert reasons(desk.tell(pulled("a")), T2) == {"a": None}


def test_stall() -> None:
    """A pull without a byte for too long has stalled for all its listeners."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.command(assign(T2, "a"))
    desk.started("r/a")
    desk.at(10)
    desk.tell(BytesArrived("r/a", Bytes(5, 100)))
    for now in range(11, 310):
        assert desk.at(now) == []
        desk.tell(BytesArrived("r/a", Bytes(5, 100)))
    out = desk.at(310)
    assert [type(i) for i in out] == [StopPull, Deliver, Deliver]
    message = out[1].outcome.images[0].message if isinstance(out[1], Deliver) else None
    assert message == "No byte has come for 300 s. 5 of 100 bytes are here."


def test_silent_registry() -> None:
    """A registry that never says a word is a stall."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.started("r/a")
    desk.tell(BytesArrived("r/a", Bytes(0, None)))
    assert reasons(desk.at(STALL), T1) == {"a": Reason.STALLED}


def test_unpacking() -> None:
    """Unpacking is no stall however long it takes."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.started("r/a")
    desk.tell(BytesArrived("r/a", Bytes(100, 100)))
    assert desk.at(1799) == []


@pytest.mark.parametrize("phase", [PullPhase.QUEUED, PullPhase.UNPACKING])
def test_nothing_is_due(phase: PullPhase) -> None:
    """Waiting for a place, and unpacking, last as long as the pull may."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.started("r/a")
    desk.tell(BytesArrived("r/a", Bytes(50, 100)))
    desk.at(299)
    desk.tell(BytesArrived("r/a", Bytes(50, 100, phase)))
    assert desk.at(1799) == []
    assert desk.ledger.progress()[0].images[0].phase is phase
    assert reasons(desk.at(1800), T1) == {"a": Reason.TIMEOUT}


def test_silence_counts_from_when_a_download_is_open() -> None:
    """Not from the begin of the pull, which may wait for half an hour."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.started("r/a")
    assert desk.ledger.progress()[0].images[0].phase is PullPhase.QUEUED
    assert desk.at(1000) == []
    desk.tell(BytesArrived("r/a", Bytes(0, 100)))
    assert desk.at(1299) == []
    assert reasons(desk.at(1300), T1) == {"a": Reason.STALLED}


def test_unseen_bytes() -> None:
    """Where bytes cannot be seen nothing stalls."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.started("r/a", sees_bytes=False)
    assert desk.at(1799) == []
    assert reasons(desk.at(1800), T1) == {"a": Reason.TIMEOUT}


def test_begun_anew() -> None:
    """A download that begins anew moves though it is behind."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    desk.started("r/a")
    desk.tell(BytesArrived("r/a", Bytes(90, 100)))
    desk.at(200)
    desk.tell(BytesArrived("r/a", Bytes(1, 100)))
    assert desk.at(499) == []
    assert desk.ledger.progress()[0].images[0].bytes == 90, "and is no step back to who watches"
    assert reasons(desk.at(500), T1) == {"a": Reason.STALLED}


# ── progress ─────────────────────────────────────────────────────────────────────────────────


def test_progress() -> None:
    """Progress tells of the images about which something is known."""
    desk = Desk(parallel=2)
    desk.command(assign(T1, "a", "b", "c"))
    desk.started("r/a")
    for second in range(4):
        desk.now = second
        desk.tell(BytesArrived("r/a", Bytes(10 * second, 100)))
    desk.tell(present("b"))
    (attempt,) = desk.ledger.progress()
    assert (attempt.task, attempt.attempt) == (T1, 1)
    assert attempt.images == [
        ImageProgress(
            image="a",
            state=ImageState.PULLING,
            bytes=30,
            total_bytes=100,
            bytes_per_second=10,
            phase=PullPhase.DOWNLOADING,
        ),
        ImageProgress(image="b", state=ImageState.PRESENT),
        ImageProgress(image="c", state=ImageState.PULLING),
    ]


def test_bytes_at_the_end() -> None:
    """Bytes do not fall when an image is done."""
    desk = Desk()
    desk.command(assign(T1, "a", "b"))
    desk.tell(BytesArrived("r/a", Bytes(95, 95)))
    desk.tell(pulled("a"))
    assert desk.ledger.progress()[0].images[0].bytes == 95, "its outcome says 10"


def test_speed() -> None:
    """The speed is that of the last seconds."""
    desk = Desk()
    desk.command(assign(T1, "a"))
    for second, done in enumerate([0, 1000, 1000, 1000, 1000, 1000, 1000]):
        desk.now = second
        desk.tell(BytesArrived("r/a", Bytes(done, 5000)))
    assert desk.ledger.progress()[0].images[0].bytes_per_second == 0


def test_interval() -> None:
    """The interval is the longest that a held assignment asks for."""
    desk = Desk()
    desk.command(assign(T1, "a", progress_seconds=5.0))
    desk.command(assign(T2, "b", progress_seconds=2.0))
    assert desk.ledger.progress_seconds == 5.0
    desk.command(cancel(T1))
    assert desk.ledger.progress_seconds == 2.0


# ── start and stop ───────────────────────────────────────────────────────────────────────────


def test_found_outcome() -> None:
    """Outcomes of a former run are held until they are stored."""
    desk = Desk()
    assert desk.tell(OutcomeFound(key(T1, 2))) == []
    assert held(desk) == [(T1, 2)]
    assert desk.command(assign(T1, "a", attempt=2)) == [], "no second work for it"
    assert desk.reply.accepted
    desk.tell(OutcomeSettled(key(T1, 2)))
    assert held(desk) == []


def test_found_outcomes_of_one_task() -> None:
    """Of two outcomes of a former run only the newer attempt counts."""
    desk = Desk()
    desk.tell(OutcomeFound(key(T1, 1)))
    assert desk.tell(OutcomeFound(key(T1, 2))) == [Discard(key(T1, 1))]
    assert desk.tell(OutcomeFound(key(T1, 1))) == [Discard(key(T1, 1))]
    assert held(desk) == [(T1, 2)]


def test_stop() -> None:
    """A stop hands back what runs and keeps what is undelivered."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "a"))
    desk.tell(failed("a", Reason.TIMEOUT))
    desk.command(assign(T2, "b", "c"))
    assert desk.tell(ShutdownRequested()) == [stop("b")]
    assert held(desk) == [(T1, 1)]
    assert desk.tell(stopped("b")) == [], "the next run resumes it"
    desk.command(assign(T3, "d"))
    assert desk.reply.refusal == "the agent is stopping"
    assert desk.command(cancel(T1)) == [Discard(key(T1)), forget("a")]


def granted(task: str, image: str, key: str) -> Assign:
    """An assignment of one image whose registry is shown credentials."""
    images = [AssignedImage(name=image, reference=f"r/{image}", credentials=key)]
    return Assign(epoch=1, task=task, attempt=1, images=images, sealed=f"for {task}")


def keys(out: Sequence[Instruction]) -> list[str | None]:
    """By whose credentials pulls are started."""
    return [i.grant.sealed if i.grant else None for i in out if isinstance(i, StartPull)]


def test_a_pull_is_shared_by_the_same_credentials_alone() -> None:
    """Others wait until it is over, whoever they are, and then ask by themselves."""
    desk = Desk(parallel=4)
    assert keys(desk.command(granted(T1, "a", "k1"))) == [f"for {T1}"]
    assert desk.command(granted(T2, "a", "k1")) == []
    assert desk.command(granted(T3, "a", "k2")) == []
    assert desk.command(assign(T4, "a")) == []
    out = desk.tell(pulled("a"))
    assert [i.key.task for i in out if isinstance(i, Deliver)] == [T1, T2]
    assert keys(out) == [f"for {T3}"]
    out = desk.tell(present("a"))
    assert [i.key.task for i in out if isinstance(i, Deliver)] == [T3]
    assert keys(out) == [None]
    assert [i.key.task for i in desk.tell(present("a")) if isinstance(i, Deliver)] == [T4]


def test_who_waits_with_other_credentials_goes_on_when_the_pull_is_stopped() -> None:
    """One is cancelled: what it had under way is stopped, and the next begins after that."""
    desk = Desk(parallel=4)
    desk.command(granted(T1, "a", "k1"))
    desk.command(granted(T2, "a", "k2"))
    assert desk.command(cancel(T1)) == [stop("a")]
    assert keys(desk.tell(stopped("a"))) == [f"for {T2}"]
    assert desk.command(cancel(T2)) == [stop("a")]


def test_who_waits_with_other_credentials_may_leave() -> None:
    """And what runs is none of its business."""
    desk = Desk(parallel=4)
    desk.command(granted(T1, "a", "k1"))
    desk.command(granted(T2, "a", "k2"))
    assert desk.command(cancel(T2)) == []
    assert keys(desk.tell(pulled("a"))) == []


def test_what_waits_for_a_place_is_being_pulled() -> None:
    """Whatever its credentials: nobody may take it off the node meanwhile."""
    desk = Desk(parallel=1)
    desk.command(assign(T1, "x"))
    desk.command(granted(T2, "a", "k1"))
    assert desk.ledger.is_pulled("r/a")
    desk.command(cancel(T2))
    assert not desk.ledger.is_pulled("r/a")
