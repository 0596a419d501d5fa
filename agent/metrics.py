"""The agent's metrics, ``ips_agent_…``, and what changes them.

Several agents of one process may share them: everything is counted up and down, nothing is set,
except what belongs to the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.events import Event, OutcomeFound, OutcomeSettled, PullEnded
from agent.instructions import Deliver, Discard, Instruction, StartPull, StopPull
from agent.notices import (
    DiskMeasured,
    MessageRejected,
    Notice,
    OutcomeCut,
    OutcomeRefused,
    OutcomeSetAside,
    OutcomeUnreadable,
    SpoolRefused,
    SpoolUnreadable,
)
from common.messages import ImageOutcome, ImageState
from common.reasons import Reason
from common.subjects import AttemptKey
from common.version import VERSION

SECONDS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
MEBIBYTE = 1024.0**2
BYTES = tuple(MEBIBYTE * 4**power for power in range(8))
"""1 MiB to 16 GiB."""


class Metrics:
    """The collectors, in a registry of the caller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pulls = Counter(
            "ips_agent_pulls",
            "Images looked up or pulled, by how that ended.",
            ("result", "reason"),
            registry=registry,
        )
        self.seconds = Histogram(
            "ips_agent_pull_seconds",
            "Duration of pulls that brought an image.",
            buckets=SECONDS,
            registry=registry,
        )
        self.bytes = Histogram(
            "ips_agent_pull_bytes",
            "Compressed size of images that were pulled.",
            buckets=BYTES,
            registry=registry,
        )
        self.in_flight = Gauge(
            "ips_agent_pulls_in_flight", "Pulls that are running.", registry=registry
        )
        self.unsent = Gauge(
            "ips_agent_unsent_results", "Outcomes that are not stored yet.", registry=registry
        )
        self.spool_failures = Counter(
            "ips_agent_spool_failures", "Times that the disk refused an outcome.", registry=registry
        )
        self.poison = Counter(
            "ips_agent_poison_messages",
            "Messages that could not be understood.",
            ("kind",),
            registry=registry,
        )
        self.unfit = Counter(
            "ips_agent_unfit_results",
            "Outcomes that are too large for a message or refused, or files that are none.",
            ("result",),
            registry=registry,
        )
        self.disk_free = Gauge(
            "ips_agent_image_disk_free_bytes",
            "Free space of the file system that holds the images.",
            registry=registry,
        )
        self.disk_total = Gauge(
            "ips_agent_image_disk_total_bytes",
            "Size of the file system that holds the images.",
            registry=registry,
        )


class StateCollector(Collector):
    """What the agent is connected to at the moment of a scrape.

    ``bus`` and ``runtime`` say why it is not connected to NATS and to the container runtime; empty
    where it is.
    """

    def __init__(self, bus: Callable[[], str], runtime: Callable[[], str]) -> None:
        self._bus = bus
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        """Both, and what runs here."""
        for name, what, why in (
            ("bus_up", "1: a NATS server has this agent", self._bus()),
            ("runtime_up", "1: the container runtime answers", self._runtime()),
        ):
            yield GaugeMetricFamily(f"ips_agent_{name}", what, value=float(not why))
        yield InfoMetricFamily("ips_agent_build", "What runs here", value={"version": VERSION})


class MetricsObserver:
    """Turns what one agent does into metrics; each agent has one of its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._unsent: set[AttemptKey] = set()
        self._stopped: dict[str, Reason] = {}

    def handled(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """Count an event and what comes of it."""
        unsent = len(self._unsent)
        match event:
            case PullEnded(outcome):
                self._pull_ended(outcome)
            case OutcomeFound(key):
                self._unsent.add(key)
            case OutcomeSettled(key):
                self._unsent.discard(key)
        for instruction in instructions:
            self._follow(instruction)
        self._metrics.unsent.inc(len(self._unsent) - unsent)

    def noticed(self, notice: Notice) -> None:
        """Count what happened beside the ledger."""
        match notice:
            case MessageRejected(kind):
                self._metrics.poison.labels(kind).inc()
            case SpoolUnreadable() | SpoolRefused():
                self._metrics.spool_failures.inc()
            case OutcomeCut():
                self._metrics.unfit.labels("cut").inc()
            case OutcomeSetAside():
                self._metrics.unfit.labels("dropped").inc()
            case OutcomeRefused():
                self._metrics.unfit.labels("refused").inc()
            case OutcomeUnreadable():
                self._metrics.unfit.labels("unreadable").inc()
            case DiskMeasured(disk):
                self._metrics.disk_free.set(disk.free_bytes)
                self._metrics.disk_total.set(disk.total_bytes)

    def _follow(self, instruction: Instruction) -> None:
        match instruction:
            case StartPull():
                self._metrics.in_flight.inc()
            case StopPull(reference, reason):
                self._stopped[reference] = reason
            case Deliver(key):
                self._unsent.add(key)
            case Discard(key):
                self._unsent.discard(key)

    def _pull_ended(self, outcome: ImageOutcome) -> None:
        self._metrics.in_flight.dec()
        state, reason = outcome.state, outcome.reason
        if (stopped := self._stopped.pop(outcome.image, None)) is not None:
            cancelled = stopped is Reason.CANCELLED
            state, reason = ImageState.CANCELLED if cancelled else ImageState.FAILED, stopped
        self._metrics.pulls.labels(state, reason or "").inc()
        if state is ImageState.PULLED:
            self._metrics.seconds.observe(outcome.seconds or 0.0)
            self._metrics.bytes.observe(outcome.bytes or 0)
