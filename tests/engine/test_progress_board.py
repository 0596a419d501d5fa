"""What a task's bytes come to, and whose reports count."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import subjects
from common.bus import Received
from common.messages import (
    AttemptProgress,
    Hold,
    ImageOutcome,
    ImageProgress,
    ImageState,
    Outcome,
    Progress,
    total_bytes,
)
from common.subjects import AttemptKey
from coordinator.core.events import AgentHeard, Event, OutcomeStored, TaskEnded
from coordinator.core.task import TaskStatus
from coordinator.engine.progress_board import ProgressBoard
from coordinator.snapshots import NOTHING_KNOWN, Transfer
from tests.core.stage import FLAKY, FOR_EVER, Stage, head, pulled, spec

TASK = "task-20260101-000000-00000001"


class Watched:
    """A task of two images on four nodes, two at a time, and its board."""

    def __init__(self) -> None:
        self.stage = Stage("n1", "n2", "n3", "n4")
        self.stage.start(TASK, "n1 n2 n3 n4", spec("a", "b", batch_size=2, max_retries=0))
        self.run = self.stage.run(TASK)
        self.board = ProgressBoard(self.stage.core)

    def pulling(self, node: str, **images: tuple[int, int | None]) -> None:
        """A report on images: bytes so far, and of all."""
        pulls = [
            ImageProgress(image=name, state=ImageState.PULLING, bytes=now, total_bytes=total)
            for name, (now, total) in images.items()
        ]
        report = AttemptProgress(task=TASK, attempt=1, images=pulls)
        assert self.board.report(self.run, self.run.by_name[node], report)

    def outcome(self, node: str, **images: int | None) -> None:
        """Images have been pulled; None has failed."""
        ends = [
            ImageOutcome(image=name, state=ImageState.FAILED)
            if size is None
            else ImageOutcome(image=name, state=ImageState.PULLED, bytes=size)
            for name, size in images.items()
        ]
        self.stage.store(TASK, node, Outcome(images=ends))
        self.board.drop_node(TASK, node)

    @property
    def transfer(self) -> Transfer:
        """What is told of it."""
        return self.board.transfer(self.run)


def test_the_whole_is_unknown_until_each_image_was_seen() -> None:
    """Nodes that wait count as well: half of the nodes are never almost all of the bytes."""
    watched = Watched()
    assert watched.transfer == Transfer()
    watched.pulling("n1", a=(10, 100))
    assert watched.transfer == Transfer(bytes=10)
    watched.pulling("n2", a=(0, 100), b=(5, 30))
    assert watched.transfer == Transfer(bytes=15, total_bytes=4 * 130)


def test_the_whole_becomes_what_has_arrived() -> None:
    """A node that is given up takes what it lacks out of it."""
    watched = Watched()
    for node in ("n1", "n2", "n3"):
        watched.outcome(node, a=100, b=30)
    assert watched.transfer == Transfer(bytes=390, total_bytes=520)
    watched.outcome("n4", a=100, b=None)
    assert watched.transfer == Transfer(bytes=490, total_bytes=490)


def test_without_sizes_nothing_is_said() -> None:
    """Not every runtime tells them."""
    watched = Watched()
    watched.pulling("n1", a=(10, None))
    assert watched.transfer == Transfer(bytes=10)


# ── whose reports count ──

INSTANCE, STRANGER = "0123456789abcdef", "fedcba9876543210"
OTHER = "task-20260101-000000-00000002"


class Reported:
    """A task on two nodes, whose first an agent has accepted; what it and others report."""

    def __init__(self, **wanted: Any) -> None:
        self.stage = Stage("n1", "n2")
        self.board = ProgressBoard(self.stage.core)
        self.told: list[tuple[str, str]] = []
        self.board.listen(lambda task, node: self.told.append((task, node)))
        self.stage.start(TASK, "n1 n2", spec("a", "b", **wanted))
        self.hold(1)
        self.run = self.stage.run(TASK)

    def hold(self, attempt: int) -> None:
        """The agent says that it has an attempt."""
        held = (Hold(task=TASK, attempt=attempt),)
        self.tell(AgentHeard("n1", INSTANCE, held, FOR_EVER))

    def tell(self, event: Event) -> None:
        """Something else happens."""
        self.board.observe(event, self.stage.core.handle(event, self.stage.now))

    def decide(self, outcome: Outcome) -> None:
        """The first attempt is over."""
        key = AttemptKey(TASK, "n1", 1)
        self.tell(OutcomeStored(key, outcome, 1, self.stage.now))

    def report(
        self,
        task: str = TASK,
        node: str = "n1",
        instance: str = INSTANCE,
        attempt: int = 1,
        **images: int | None,
    ) -> None:
        """A message comes in."""
        pulls = [
            ImageProgress(image=name, state=ImageState.PULLING, bytes=now)
            for name, now in images.items()
        ]
        report = Progress(attempts=[AttemptProgress(task=task, attempt=attempt, images=pulls)])
        subject = subjects.progress(node, instance)
        self.board.on_progress(Received(subject, msgspec.json.encode(report), ""))

    @property
    def bytes(self) -> dict[str, int | None]:
        """What is known of the node's pulls."""
        pulls = self.board.pulls(TASK, self.run.by_name["n1"])
        return {image: pull.bytes for image, pull in pulls.items()}


def test_what_the_agent_at_work_reports_is_shown() -> None:
    """And whoever watches is told of it."""
    reported = Reported()
    reported.report(a=5)
    reported.report(b=7)
    assert reported.bytes == {"a": 5, "b": 7}
    assert reported.told == [(TASK, "n1")] * 2


@pytest.mark.parametrize(
    "foreign",
    [
        {"instance": STRANGER},
        {"node": "n2"},
        {"node": "n9"},
        {"task": OTHER},
        {"attempt": 2},
    ],
    ids=str,
)
def test_what_anybody_else_reports_is_nothing(foreign: dict[str, Any]) -> None:
    """Another instance, a node without the work or outside of the task, a task, an attempt."""
    reported = Reported()
    reported.report(**foreign, a=5)
    assert reported.bytes == {}
    assert reported.told == []
    assert reported.board.transfer(reported.run) == Transfer()


def test_images_that_are_none_of_the_task_are_not_kept() -> None:
    """An agent could name new ones for ever."""
    reported = Reported()
    reported.report(a=5, strange=1000)
    assert reported.bytes == {"a": 5}
    assert reported.board.transfer(reported.run) == Transfer(bytes=5)


def test_bytes_never_fall_within_an_attempt() -> None:
    """Reports overtake one another, and some say nothing of bytes."""
    reported = Reported()
    for now in (5, 9, 7, None):
        reported.report(a=now)
        reported.report(b=None)
    assert reported.bytes == {"a": 9, "b": None}


def test_the_next_attempt_begins_anew() -> None:
    """What the failed one had is gone, and its late reports are nothing."""
    reported = Reported(max_retries=1, retry_delay=1)
    reported.report(a=9)
    reported.decide(FLAKY)
    assert reported.bytes == {}
    reported.report(a=10)
    reported.stage.wait(2.0)
    reported.hold(2)
    reported.report(a=11)
    assert reported.bytes == {}
    reported.report(attempt=2, a=1)
    assert reported.bytes == {"a": 1}


def test_reports_of_an_attempt_that_was_not_seen_to_end_do_not_stay() -> None:
    """Whoever reads the board beside a core that was told first is not misled."""
    reported = Reported(max_retries=1, retry_delay=1)
    reported.report(a=9)
    event = OutcomeStored(AttemptKey(TASK, "n1", 1), FLAKY, 1, reported.stage.now)
    reported.stage.tell(event)
    assert reported.bytes == {}
    reported.stage.wait(2.0)
    reported.hold(2)
    reported.report(attempt=2, b=1)
    assert reported.bytes == {"b": 1}


def test_what_is_decided_leaves_the_board() -> None:
    """Its bytes are in the outcome, and count once."""
    reported = Reported()
    reported.report(a=9)
    reported.decide(pulled("a", "b"))
    assert reported.board.pulls(TASK, reported.run.by_name["n1"]) is NOTHING_KNOWN
    assert reported.board.transfer(reported.run).bytes is None
    reported.report(a=10)
    assert reported.told == [(TASK, "n1")]


def test_nothing_stays_of_a_task_that_is_over() -> None:
    """Neither what was pulled, nor its name."""
    reported = Reported()
    reported.report(a=9)
    reported.tell(TaskEnded(head(TASK, status=TaskStatus.CANCELLED)))
    assert reported.board.transfer(reported.run) == Transfer()
    assert not reported.board._pulls
    reported.report(a=10)
    assert not reported.board._pulls


def test_speeds_add_up() -> None:
    """Those that are known."""
    reported = Reported()
    pulls = [
        ImageProgress(image="a", state=ImageState.PULLING, bytes_per_second=5),
        ImageProgress(image="b", state=ImageState.PULLING, bytes_per_second=6),
    ]
    report = AttemptProgress(task=TASK, attempt=1, images=pulls)
    assert reported.board.report(reported.run, reported.run.by_name["n1"], report)
    assert reported.board.transfer(reported.run) == Transfer(bytes_per_second=11)


def test_what_is_no_report_is_said_to_be_none() -> None:
    """Its sender hears nothing of it; who counts such messages does."""
    reported = Reported()
    with pytest.raises(ValueError, match="not the subject"):
        reported.board.on_progress(Received("ips.v1.progress.n1.x", b"{}", ""))
    with pytest.raises(msgspec.ValidationError):
        reported.board.on_progress(Received(subjects.progress("n1", INSTANCE), b"{}", ""))


@pytest.mark.parametrize("field", ["bytes", "totalBytes", "bytesPerSecond"])
@pytest.mark.parametrize("number", [-1, 2**63])
def test_bytes_that_nothing_can_have_are_no_report(field: str, number: int) -> None:
    """They would be shown to users."""
    reported = Reported()
    image = {"image": "a", "state": "pulling", field: number}
    report = {"attempts": [{"task": TASK, "attempt": 1, "images": [image]}]}
    message = Received(subjects.progress("n1", INSTANCE), msgspec.json.encode(report), "")
    with pytest.raises(msgspec.ValidationError):
        reported.board.on_progress(message)
    assert reported.bytes == {}


NUMBERS = st.none() | st.integers(0, 9) | st.just(2**62)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["n1", "n2"]), st.sampled_from(["a", "b"]), NUMBERS, NUMBERS, NUMBERS
        )
        | st.sampled_from(["n1", "n2"])
    )
)
def test_what_is_kept_up_to_date_is_what_all_pulls_come_to(steps: list[Any]) -> None:
    """After any reports, and nodes that were dropped."""
    watched = Watched()
    board, run = watched.board, watched.run
    for step in steps:
        if isinstance(step, str):
            board.drop_node(TASK, step)
            continue
        node, image, now, total, speed = step
        pull = ImageProgress(
            image=image,
            state=ImageState.PULLING,
            bytes=now,
            total_bytes=total,
            bytes_per_second=speed,
        )
        board.report(run, run.by_name[node], AttemptProgress(task=TASK, attempt=1, images=[pull]))
        pulls = [p for n in ("n1", "n2") for p in board.pulls(TASK, run.by_name[n]).values()]
        known = [p.bytes for p in pulls if p.bytes is not None]
        speeds = [p.bytes_per_second for p in pulls if p.bytes_per_second is not None]
        sizes = {
            name: max(p.total_bytes for p in pulls if p.image == name and p.total_bytes is not None)
            for name in {p.image for p in pulls if p.total_bytes is not None}
        }
        all_known = sizes.keys() == {"a", "b"}
        assert board.transfer(run) == Transfer(
            bytes=total_bytes(known) if known else None,
            total_bytes=total_bytes([4 * size for size in sizes.values()]) if all_known else None,
            bytes_per_second=total_bytes(speeds) if speeds else None,
        )
