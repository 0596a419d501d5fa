"""What the agent's log says of events, instructions and notices, and what its metrics count."""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, get_args

import pytest
from prometheus_client import CollectorRegistry

from agent.events import CommandReceived, PullEnded, TimePassed
from agent.instructions import SendReply, StopPull
from agent.journal import Journal
from agent.metrics import Metrics, MetricsObserver
from agent.notices import (
    AlreadyDecided,
    DiskMeasured,
    MessageRejected,
    Notice,
    OutcomeCut,
    OutcomeRefused,
    OutcomeSetAside,
    OutcomeUnreadable,
    ReplyDropped,
    RuntimeConnected,
    RuntimeDisconnected,
    SpoolRefused,
    SpoolUnreadable,
    StoreFailed,
    SweepPostponed,
)
from common.messages import Cancel, ImageDisk, ImageOutcome, ImageState, Reply
from common.reasons import Reason
from common.subjects import AttemptKey

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.pure

KEY = AttemptKey("task-20260116-151234-00000001", "node-1", 1)
NOTICES: Mapping[Notice, tuple[int, str]] = {
    MessageRejected("command", "s", "w"): (logging.WARNING, "a message is not understood"),
    ReplyDropped("s"): (logging.DEBUG, "an answer is not sent"),
    SpoolUnreadable("w"): (logging.WARNING, "outcomes of a former run cannot be read"),
    OutcomeUnreadable("f", "w"): (
        logging.WARNING,
        "an outcome cannot be read and is set aside",
    ),
    OutcomeCut(KEY): (logging.WARNING, "an outcome was too large: words of it are cut"),
    OutcomeSetAside(KEY, "w"): (logging.ERROR, "an outcome cannot be sent and is dropped"),
    OutcomeRefused(KEY, "w"): (logging.ERROR, "an outcome is refused and is dropped"),
    SpoolRefused(KEY, "w"): (logging.WARNING, "an outcome is kept in memory only"),
    StoreFailed(KEY, "w"): (logging.WARNING, "an outcome cannot be stored yet"),
    AlreadyDecided(KEY): (logging.DEBUG, "already decided"),
    RuntimeConnected("containerd 2"): (logging.INFO, "the container runtime answers"),
    RuntimeDisconnected("w"): (logging.WARNING, "the container runtime is away"),
    SweepPostponed("w"): (logging.INFO, "what is left half pulled cannot be swept yet"),
}


@pytest.mark.parametrize("notice", NOTICES)
def test_notice(notice: Notice, caplog: pytest.LogCaptureFixture) -> None:
    """Each notice is one line, of the level that it deserves."""
    caplog.set_level(logging.DEBUG, "agent.journal")
    Journal().noticed(notice)
    assert [(line.levelno, line.getMessage()) for line in caplog.records] == [NOTICES[notice]]


def test_every_notice_is_logged() -> None:
    """All but the disk's measure, which only the metrics show."""
    assert {type(notice) for notice in NOTICES} | {DiskMeasured} == set(get_args(Notice))


def test_rejections_are_rate_limited(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger can send nonsense at will and does not fill the log with it."""
    minutes = count(step=60.0)
    journal = Journal(clock=lambda: next(minutes))
    for _ in range(120):
        journal.noticed(MessageRejected("command", "s", "w"))
    assert len(caplog.records) == 2


def test_refusal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Why a command was refused."""
    event = CommandReceived(Cancel(epoch=1, task=KEY.task), "there")
    Journal().handled(event, [SendReply("there", Reply(accepted=False, refusal="too old"))])
    (line,) = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert line.__dict__["fields"] == {"task": KEY.task, "epoch": 1, "why": "too old"}


def test_metrics_of_notices() -> None:
    """What went wrong is counted, and the disk is shown as it was measured."""
    registry = CollectorRegistry()
    observer = MetricsObserver(Metrics(registry))
    for notice in (*NOTICES, DiskMeasured(ImageDisk(free_bytes=3, total_bytes=5))):
        observer.noticed(notice)
    figures = {
        "poison_messages_total": 1,
        "spool_failures_total": 2,
        "image_disk_free_bytes": 3,
        "image_disk_total_bytes": 5,
    }
    labels = {"poison_messages_total": {"kind": "command"}}
    for name, figure in figures.items():
        assert registry.get_sample_value(f"ips_agent_{name}", labels.get(name, {})) == figure


def test_metrics_of_a_stopped_pull() -> None:
    """A pull counts by why it was stopped, not by how the runtime worded its end."""
    registry = CollectorRegistry()
    observer = MetricsObserver(Metrics(registry))
    observer.handled(TimePassed(), [StopPull("r/a", Reason.TIMEOUT)])
    outcome = ImageOutcome(image="r/a", state=ImageState.CANCELLED)
    observer.handled(PullEnded(outcome), [])
    labels = {"result": "failed", "reason": "Timeout"}
    assert registry.get_sample_value("ips_agent_pulls_total", labels) == 1
