"""What dashboards count. Observes the core's loop; stands inside no logic.

No label holds a node name, an image or a task id: 10,000 nodes and 50 images would be half a
million series. Nothing is counted twice within the life of the process, although every term of
leadership replays what is stored: outcomes count by their place in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from common.messages import ImageState
from common.reasons import Reason
from common.version import VERSION
from coordinator.core.changes import AttemptDecided, BatchSettled, Step, TaskOver
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    Event,
    OutcomeStored,
    Settled,
)
from coordinator.core.scheduler import Decision
from coordinator.core.task import FINAL, TaskHead
from coordinator.port import State

MINUTES = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)
"""Histogram buckets in seconds: from a small warm-up to a roll-out over a night."""
ANSWERS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5)
"""Histogram buckets in seconds: from one agent at rest to as long as an answer is waited for."""

_ANSWERS = {
    AssignmentAccepted: "accepted",
    AssignmentRefused: "refused",
    AssignmentUnanswered: "unanswered",
}
_PROCESSED = {Step.SUCCEEDED: "succeeded", Step.FAILED: "failed"}
COUNTED: Final = (Settled, *_ANSWERS, AttemptDecided, BatchSettled, TaskOver)
"""What is counted, as the core's loop has it."""


class StateCollector(Collector):
    """What holds at the moment of a scrape: asked for once, so that all of it fits together.

    ``clock``: seconds since 1970.
    """

    def __init__(self, look: Callable[[], State], clock: Callable[[], float]) -> None:
        self._look = look
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All gauges of one moment."""
        state = self._look()
        queued_at, standing = state.oldest_queued_at, state.standing
        age = 0.0 if queued_at is None else max(0.0, self._clock() - queued_at / 1000)
        for name, what, value in (
            ("live", "1: the process works; scraped at all, it does", 1),
            ("ready", "1: reads are answered", state.ready),
            ("takes_writes", "1: tasks can be created and cancelled", standing.no_writes is None),
            ("leader", "1: this coordinator leads", standing.leads),
            ("nats_connected", "1: a NATS server has this coordinator", standing.nats_connected),
            ("store_writable", "1: the last write was stored", state.store_writable),
            ("node_source_up", "1: the nodes are known and up to date", state.node_source_up),
            ("queued_tasks", "Tasks that wait for their start", state.queued),
            ("oldest_queued_task_seconds", "How long the oldest of them has waited", age),
        ):
            yield GaugeMetricFamily(f"ips_{name}", what, value=float(value))
        leader = standing.name if standing.leads else standing.leader
        if leader:
            yield InfoMetricFamily("ips_leader", "Who leads", value={"leader": leader})
        nodes = GaugeMetricFamily("ips_nodes", "Nodes by their state", labels=["state"])
        for node_state, count in state.nodes.items():
            nodes.add_metric([node_state], count)
        yield nodes
        yield InfoMetricFamily("ips_build", "What runs here", value={"version": VERSION})


class Metrics:
    """The coordinator's counters about tasks; those about HTTP are the API's."""

    def __init__(self, registry: CollectorRegistry, active_tasks: Callable[[], int]) -> None:
        self._tasks = Counter("ips_tasks", "Tasks by how they ended", ["status"], registry=registry)
        self._durations = Histogram(
            "ips_task_duration_seconds",
            "From a task's start to its end",
            ["status"],
            buckets=MINUTES,
            registry=registry,
        )
        self._nodes = Counter(
            "ips_nodes_processed", "Nodes that are done with a task", ["status"], registry=registry
        )
        self._batches = Histogram(
            "ips_batch_execution_duration_seconds",
            "From a batch's begin until all its nodes are done or wait for a retry",
            buckets=MINUTES,
            registry=registry,
        )
        self._images = Counter(
            "ips_images_pulled", "Images that were pulled onto a node", registry=registry
        )
        self._assignments = Counter(
            "ips_assignments", "Assignments by their answer", ["status"], registry=registry
        )
        self._accepted = Histogram(
            "ips_assignment_accepted_seconds",
            "From an assignment to the agent's word that it has accepted",
            buckets=ANSWERS,
            registry=registry,
        )
        self._poison = Counter(
            "ips_undecodable_messages", "Messages that were none", ["kind"], registry=registry
        )
        self._clock = Gauge(
            "ips_clock_ahead_seconds",
            "By how much this machine's clock is ahead of the store's",
            registry=registry,
        )
        self._faults = Counter(
            "ips_faults",
            "Faults of one task, or of one who looks on, that ended nothing else",
            ["part"],
            registry=registry,
        )
        self._failures = Counter(
            "ips_failed_attempts",
            "Failed attempts of a node by reason; one counts once for each of its reasons",
            ["reason"],
            registry=registry,
        )
        self._webhooks_given_up = Counter(
            "ips_webhooks_given_up", "Webhooks that nobody took within a day", registry=registry
        )
        active = Gauge("ips_active_tasks", "Tasks that are running", registry=registry)
        active.set_function(active_tasks)
        self._counted: dict[str, int] = {}
        """By task, up to which place in the store its outcomes are counted."""
        self._first_load = True
        self._begin_with_zeros()

    def _begin_with_zeros(self) -> None:
        for status in FINAL:
            self._tasks.labels(status)
            self._durations.labels(status)
        for answer in _ANSWERS.values():
            self._assignments.labels(answer)
        for processed in _PROCESSED.values():
            self._nodes.labels(processed)
        for reason in Reason:
            self._failures.labels(reason)

    def webhook_given_up(self) -> None:
        """A webhook was not taken within its time."""
        self._webhooks_given_up.inc()

    def accepted(self, seconds: float) -> None:
        """An agent has accepted an assignment, so long after it was sent."""
        self._accepted.observe(seconds)

    def poison(self, kind: str) -> None:
        """A message could not be understood."""
        self._poison.labels(kind).inc()

    def clock_ahead(self, seconds: float) -> None:
        """The two clocks were compared."""
        self._clock.set(seconds)

    def fault(self, part: str) -> None:
        """Something failed that ends nothing else."""
        self._faults.labels(part).inc()

    def observe(self, event: Event, decision: Decision) -> None:
        """Count what the core was told and what it made of it."""
        match event:
            case Settled():
                self._first_load = False
            case AssignmentAccepted() | AssignmentRefused() | AssignmentUnanswered():
                self._assignments.labels(_ANSWERS[type(event)]).inc()
            case _:
                pass
        is_news = self._is_news(event, decision)
        for change in decision.changes:
            match change:
                case AttemptDecided() if is_news:
                    self._attempt(change)
                case BatchSettled(seconds=seconds) if is_news:
                    self._batches.observe(seconds)
                case TaskOver(head=head) if head.status.is_final:
                    self._ended(head)
                case _:
                    pass

    def _is_news(self, event: Event, decision: Decision) -> bool:
        """Whether what follows from this was not counted before, here or by somebody else."""
        if not isinstance(event, OutcomeStored):
            return True
        if not any(isinstance(change, AttemptDecided) for change in decision.changes):
            return False
        task = event.key.task
        if event.seq <= self._counted.get(task, 0):
            return False  # counted for a replica before this one
        self._counted[task] = event.seq
        return event.live or not self._first_load

    def _attempt(self, change: AttemptDecided) -> None:
        if change.step in _PROCESSED:
            self._nodes.labels(_PROCESSED[change.step]).inc()
        outcome = change.event.outcome
        failed = {
            i.reason or Reason.UNKNOWN for i in outcome.images if i.state is ImageState.FAILED
        }
        for reason in {outcome.reason} if outcome.reason is not None else failed:
            self._failures.labels(reason).inc()
        pulled = [i for i in outcome.images if i.state is ImageState.PULLED]
        self._images.inc(len(pulled))

    def _ended(self, head: TaskHead) -> None:
        self._counted.pop(head.id, None)
        self._tasks.labels(head.status).inc()
        if head.started_at is not None and head.finished_at is not None:
            seconds = (head.finished_at - head.started_at) / 1000
            self._durations.labels(head.status).observe(seconds)
