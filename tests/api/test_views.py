from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from common.messages import ImageDisk, ImageOutcome, ImageProgress, ImageState, Outcome, PullPhase
from common.reasons import Reason
from common.subjects import MAX_MESSAGE_BYTES
from coordinator import documents
from coordinator.api.create_body import read_order
from coordinator.core.changes import Step
from coordinator.core.node_run import NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.documents import encode
from coordinator.snapshots import KnownNode, Snapshot, Transfer
from coordinator.views import nodes as node_views
from coordinator.views import tasks as views
from coordinator.views.events import node_event, task_event
from coordinator.views.times import milliseconds, seconds
from tests.api.fake_engine import NOW, FakeEngine, begin, not_found, pulled

pytestmark = pytest.mark.pure

TASK = "task-20260116-151234-00000000"


def running(engine: FakeEngine, nodes: list[str], **fields: object) -> TaskRun:
    """A task that has just started on these nodes."""
    spec = read_order({"images": ["nginx", "redis:7"]} | fields).spec
    engine.all_heads[TASK] = TaskHead(id=TASK, spec=spec, created_at=NOW)
    return engine.started(TASK, nodes)


# ── times and numbers ────────────────────────────────────────────────────────────────────────


def test_times() -> None:
    """Whole seconds are cut, not rounded; milliseconds are three digits."""
    assert seconds(1_768_576_354_999) == "2026-01-16T15:12:34Z"
    assert milliseconds(1_768_576_354_007) == "2026-01-16T15:12:34.007Z"
    assert milliseconds(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("completed", "total", "percentage"),
    [
        (0, 0, 0.0),
        (25, 50, 50.0),
        (1, 3, 33.3),
        (2, 3, 66.7),
        (1, 2000, 0.1),
        (1, 8, 12.5),
        (1, 80, 1.3),
        (3, 80, 3.8),
        (10_000, 10_000, 100.0),
        (9_999, 10_000, 100.0),
    ],
)
def test_percentage_rounds_halves_up(completed: int, total: int, percentage: float) -> None:
    """One decimal; 1.25 is 1.3, as people round, and not 1.2, as Python does."""
    assert views.percentage(completed, total) == percentage


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_percentage_is_one_decimal(completed: int, total: int) -> None:
    """What is shown never has a second decimal, and is never off by more than half of one."""
    shown = views.percentage(min(completed, total), total)
    assert len(str(shown).partition(".")[2]) == 1
    assert abs(shown - min(completed, total) / total * 100) <= 0.05 + 1e-9


def test_the_words_are_those_of_the_domain() -> None:
    """Documents stand in ``common`` and cannot import the domain's words: they must not differ."""
    assert set(documents.TASK_STATUSES) == set(TaskStatus)
    assert set(documents.NODE_STATES) == set(NodePhase) - {NodePhase.REMOVED}
    assert set(documents.IMAGE_STATES) == set(ImageState)
    assert {step.value for step in Step} < set(documents.EVENT_TYPES)
    finals = {f"task.{status}" for status in TaskStatus if status.is_final}
    assert finals == documents.FINAL_EVENT_TYPES
    assert finals < set(documents.EVENT_TYPES)


# ── tasks ────────────────────────────────────────────────────────────────────────────────────


def test_progress_of_a_running_task() -> None:
    """Nodes by state; bytes where they are known."""
    engine = FakeEngine()
    run = running(engine, [f"n{i}" for i in range(7)], batchSize=3, maxRetries=1)
    begin(run, "n0")
    begin(run, "n1")
    run.place(run.by_name["n2"], NOW / 1000)
    engine.outcome(TASK, "n0", pulled("nginx", "redis:7"))
    engine.outcome(TASK, "n1", Outcome(reason=Reason.AGENT_LOST, message="silence"))
    transfer = Transfer(bytes=150, total_bytes=400, bytes_per_second=None)
    shown = views.progress(Snapshot(run.head, NOW, run=run, transfer=transfer))
    assert msgspec.to_builtins(shown) == {
        "totalNodes": 7,
        "completedNodes": 1,
        "failedNodes": 0,
        "currentBatch": 1,
        "totalBatches": 3,
        "percentage": 14.3,
        "pullingNodes": 0,
        "retryingNodes": 1,
        "waitingNodes": 4,
        "assignedNodes": 1,
        "cancelledNodes": 0,
        "bytes": 150,
        "totalBytes": 400,
    }


def test_progress_of_a_finished_task_needs_only_its_head() -> None:
    """The counts in the head say what the fold said."""
    engine = FakeEngine()
    run = running(engine, ["a", "b", "c"], batchSize=1)
    engine.outcome(TASK, "a", pulled("nginx", "redis:7"))
    engine.outcome(TASK, "b", not_found("nginx", "redis:7"))
    engine.ended(TASK, TaskStatus.CANCELLED)
    progress = views.summary(Snapshot(engine.all_heads[TASK], NOW)).progress
    assert (progress.total_nodes, progress.completed_nodes, progress.failed_nodes) == (3, 1, 1)
    assert (progress.cancelled_nodes, progress.waiting_nodes) == (1, 0)
    assert (progress.total_batches, progress.current_batch) == (3, 2)
    assert (progress.percentage, progress.bytes) == (33.3, 200)
    assert run.in_phase[NodePhase.CANCELLED] == 1


def test_a_pending_task_and_one_that_has_just_started() -> None:
    """Zeros before the start; then the nodes of the head, before anything happened to them."""
    engine = FakeEngine()
    head = running(engine, ["a", "b"]).head
    assert views.progress(Snapshot(head, NOW)).waiting_nodes == 2
    pending = replace(head, status=TaskStatus.PENDING, started_at=None)
    assert views.progress(Snapshot(pending, NOW)) == documents.TaskProgress()


def test_the_estimate_goes_on_at_the_speed_so_far() -> None:
    """A quarter done in 10 s means 30 s more, but never before a retry that is due later."""
    engine = FakeEngine()
    run = running(engine, ["a", "b", "c", "d"], maxRetries=1, retryDelay=3600)

    def estimate(after: int, transfer: Transfer | None = None) -> int | None:
        shot = Snapshot(run.head, NOW + after, run=run, transfer=transfer or Transfer())
        return views.estimated_completion(shot)

    assert estimate(10_000) is None
    engine.outcome(TASK, "a", pulled("nginx", "redis:7"))
    assert estimate(10_000) == NOW + 40_000
    assert estimate(0) == NOW
    engine.outcome(TASK, "b", Outcome(reason=Reason.AGENT_LOST))
    assert estimate(10_000) == NOW + 1000 + 3_600_000


def test_the_estimate_by_bytes() -> None:
    """Before any node is done, bytes tell, once every node pulls."""
    engine = FakeEngine()
    run = running(engine, ["a"])
    transfer = Transfer(bytes=10, total_bytes=40)
    shot = Snapshot(run.head, NOW + 1000, run=run, transfer=transfer)
    assert views.estimated_completion(shot) is None
    begin(run, "a")
    assert views.estimated_completion(shot) == NOW + 4000
    engine.ended(TASK, TaskStatus.CANCELLED)
    assert views.estimated_completion(replace_head(shot, engine)) is None


def replace_head(shot: Snapshot, engine: FakeEngine) -> Snapshot:
    """The same with the head of now."""
    return Snapshot(engine.all_heads[TASK], shot.now, run=shot.run, transfer=shot.transfer)


def test_a_failure_of_the_agent_has_no_image() -> None:
    """An entry for each failed image, and one without an image for the agent's own fault."""
    engine = FakeEngine()
    run = running(engine, ["a", "b"], maxRetries=1)
    engine.outcome(TASK, "a", not_found("nginx"))
    first = run.by_name["a"]
    assert first.phase is NodePhase.RETRYING
    engine.outcome(TASK, "a", Outcome(reason=Reason.AGENT_LOST, message="x" * 1000))
    details = list(views.failed_node_details(run))
    assert [(detail.image, detail.reason) for detail in details] == [
        ("nginx", "ImageNotFound"),
        (UNSET, "AgentLost"),
    ]
    assert len(details[1].message) == 300
    assert run.failed_details == len(details)


@pytest.mark.parametrize("images", [50, 1])
def test_a_task_always_fits_into_a_message(images: int) -> None:
    """However long names and messages are, the last event can be published."""
    engine = FakeEngine()
    host = "r" * (400 if images == 1 else 60)
    names = [f"{host}.{host[:300]}.example:{number:05}/{'x' * 255}" for number in range(images)]
    nodes = [f"{number:03}{'.' + 'n' * 60}" + f".{'n' * 60}" * 3 for number in range(100)]
    run = running(engine, nodes, images=names)
    for node in run.nodes:
        failed = [
            ImageOutcome(
                image=name,
                state=ImageState.FAILED,
                reason=Reason.UNKNOWN,
                message="\x01" * 400,
            )
            for name in names
        ]
        engine.outcome(TASK, node.name, Outcome(images=failed))
    engine.ended(TASK, TaskStatus.FAILED)
    shown = views.task(Snapshot(engine.all_heads[TASK], NOW, run=run))
    assert shown.failed_node_details_total == 100 * images
    assert isinstance(shown.failed_node_details, list)
    assert len(shown.failed_node_details) > 40
    event = task_event("task.failed", event_id="x" * 100, source="y" * 100, time=NOW, data=shown)
    assert len(encode(event)) < MAX_MESSAGE_BYTES
    assert len(encode(node_views.task_node(run.head, run.nodes[0]))) < MAX_MESSAGE_BYTES


# ── nodes of a task ──────────────────────────────────────────────────────────────────────────


def shown(run: TaskRun, name: str, **pulls: ImageProgress) -> dict[str, object]:
    """A node as JSON has it."""
    view = node_views.task_node(run.head, run.by_name[name], pulls)
    document: dict[str, object] = msgspec.json.decode(encode(view))
    return document


def test_a_waiting_node() -> None:
    """Nothing is known of it but its place."""
    run = running(FakeEngine(), ["a", "b"], batchSize=1)
    assert shown(run, "b") == {
        "nodeName": "b",
        "state": "waiting",
        "batch": 2,
        "attempt": 1,
        "images": [
            {"image": "nginx", "state": "waiting"},
            {"image": "redis:7", "state": "waiting"},
        ],
    }


def test_a_pulling_node() -> None:
    """Bytes where they are known; an image about which nothing is known waits."""
    run = running(FakeEngine(), ["a"])
    begin(run, "a")
    progress = ImageProgress(
        image="nginx", state=ImageState.PULLING, bytes=0, total_bytes=9, bytes_per_second=3
    )
    assert shown(run, "a", nginx=progress) == {
        "nodeName": "a",
        "state": "pulling",
        "batch": 1,
        "attempt": 1,
        "startedAt": "2026-01-16T15:12:34.567Z",
        "images": [
            {
                "image": "nginx",
                "state": "pulling",
                "bytes": 0,
                "totalBytes": 9,
                "bytesPerSecond": 3,
            },
            {"image": "redis:7", "state": "waiting"},
        ],
    }


@pytest.mark.parametrize("phase", list(PullPhase))
def test_the_phase_of_an_image_that_pulls(phase: PullPhase) -> None:
    """Beside its state, in lists and live frames; of one that is over there is none."""
    run = running(FakeEngine(), ["a"])
    begin(run, "a")
    progress = ImageProgress(image="nginx", state=ImageState.PULLING, phase=phase)
    images = shown(run, "a", nginx=progress)["images"]
    assert isinstance(images, list)
    [image, other] = images
    assert image == {"image": "nginx", "state": "pulling", "phase": phase}
    assert "phase" not in other
    live = node_views.live_node(run.head, run.by_name["a"], {"nginx": progress})
    assert live.images[0].phase == phase
    over = ImageProgress(image="nginx", state=ImageState.PULLED, phase=phase)
    live = node_views.live_node(run.head, run.by_name["a"], {"nginx": over})
    assert live.images[0].phase is UNSET


def test_a_node_that_succeeded() -> None:
    """Digest, size and seconds of what arrived; unknown ones are left out."""
    engine = FakeEngine()
    run = running(engine, ["a"])
    outcome = pulled("nginx")
    present = ImageOutcome(image="redis:7", state=ImageState.PRESENT)
    engine.outcome(TASK, "a", replace(outcome, images=[*outcome.images, present]))
    assert shown(run, "a") == {
        "nodeName": "a",
        "state": "succeeded",
        "batch": 1,
        "attempt": 1,
        "startedAt": "2026-01-16T15:12:34.067Z",
        "finishedAt": "2026-01-16T15:12:35.567Z",
        "images": [
            {
                "image": "nginx",
                "state": "pulled",
                "bytes": 100,
                "totalBytes": 100,
                "digest": "sha256:" + "0" * 64,
                "seconds": 1.25,
            },
            {"image": "redis:7", "state": "present"},
        ],
    }


def test_a_node_that_waits_for_a_retry_and_tries_again() -> None:
    """It says why and until when; in the new attempt only what is tried again starts anew."""
    engine = FakeEngine()
    run = running(engine, ["a"], images=["nginx", "redis:7", "gone"], maxRetries=2)
    failed = ImageOutcome(
        image="redis:7", state=ImageState.FAILED, reason=Reason.RATE_LIMITED, message="429"
    )
    missing = not_found("gone").images
    engine.outcome(TASK, "a", Outcome(images=[*pulled("nginx").images, failed, *missing]))
    node = shown(run, "a")
    assert node["state"] == "retrying"
    assert node["nextRetryAt"] == "2026-01-16T15:13:05.567Z"
    assert (node["reason"], node["message"]) == ("RateLimited", "429")
    assert "finishedAt" not in node
    begin(run, "a")
    node = shown(run, "a")
    assert (node["state"], node["attempt"]) == ("pulling", 2)
    assert "reason" not in node
    assert isinstance(node["images"], list)
    assert [image["state"] for image in node["images"]] == ["pulled", "waiting", "failed"]


def test_a_node_that_failed_before_it_tried() -> None:
    """Its images were given up, not found wanting."""
    engine = FakeEngine()
    run = running(engine, ["a"])
    engine.outcome(TASK, "a", Outcome(reason=Reason.AGENT_UNAVAILABLE, message="No agent."))
    node = shown(run, "a")
    assert (node["state"], node["reason"]) == ("failed", "AgentUnavailable")
    assert node["message"] == "No agent."
    assert isinstance(node["images"], list)
    assert {image["state"] for image in node["images"]} == {"cancelled"}


def test_nodes_of_a_cancelled_task() -> None:
    """All that was not done ended with the task."""
    engine = FakeEngine()
    run = running(engine, ["a", "b"])
    begin(run, "a")
    engine.ended(TASK, TaskStatus.CANCELLED)
    for name in ("a", "b"):
        node = shown(run, name)
        assert (node["state"], node["finishedAt"]) == ("cancelled", "2026-01-16T15:12:39.567Z")


def test_a_node_that_left_the_task() -> None:
    """Its event has a public state."""
    engine = FakeEngine()
    run = running(engine, ["a"])
    engine.outcome(TASK, "a", Outcome(removed=True))
    assert shown(run, "a")["state"] == "cancelled"


def test_a_live_frame_shows_what_changes() -> None:
    """State, attempt, reason, and the images' bytes."""
    run = running(FakeEngine(), ["a"])
    begin(run, "a")
    progress = ImageProgress(image="nginx", state=ImageState.PULLING, bytes=5)
    live = node_views.live_node(run.head, run.by_name["a"], {"nginx": progress})
    assert msgspec.to_builtins(live) == {
        "nodeName": "a",
        "state": "pulling",
        "attempt": 1,
        "images": [
            {"image": "nginx", "state": "pulling", "bytes": 5},
            {"image": "redis:7", "state": "waiting"},
        ],
    }


# ── the fleet, and events ────────────────────────────────────────────────────────────────────


def test_a_node_of_the_fleet() -> None:
    """All that an agent says of its node."""
    node = KnownNode(
        name="node-5",
        labels={"workload": "compute"},
        connected=True,
        last_seen=NOW,
        agent_version="1.0.0",
        runtime="containerd 2.1.9",
        driver="cri",
        platform="linux/amd64",
        image_disk=ImageDisk(free_bytes=1, total_bytes=2),
        pulling=["redis:7"],
    )
    assert msgspec.json.decode(encode(node_views.fleet_node(node))) == {
        "name": "node-5",
        "labels": {"workload": "compute"},
        "schedulable": True,
        "connected": True,
        "lastSeen": "2026-01-16T15:12:34.567Z",
        "agentVersion": "1.0.0",
        "runtime": "containerd 2.1.9",
        "driver": "cri",
        "canPin": False,
        "platform": "linux/amd64",
        "imageDisk": {"freeBytes": 1, "totalBytes": 2},
        "pulling": ["redis:7"],
    }


def test_what_a_node_pulls_has_familiar_names() -> None:
    """Agents send canonical references; users read Docker's short form, or what is no reference."""
    node = KnownNode(
        name="node-5",
        pulling=["docker.io/library/redis:7", "redis:7", "ghcr.io/a/b:1", "no reference"],
    )
    shown = node_views.fleet_node(node).pulling
    assert shown == ["redis:7", "redis:7", "ghcr.io/a/b:1", "no reference"]


def test_events_are_cloud_events() -> None:
    """Structured JSON with CloudEvents' own spelling of attributes."""
    engine = FakeEngine()
    run = running(engine, ["a"])
    told = {"event_id": "e-1", "source": "/ips/test", "time": NOW}
    attributes = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/ips/test",
        "time": "2026-01-16T15:12:34.567Z",
        "datacontenttype": "application/json",
    }
    node = node_views.task_node(run.head, run.by_name["a"])
    event = node_event("node.failed", **told, task_id=TASK, data=node)  # type: ignore[arg-type]
    assert msgspec.json.decode(encode(event)) == attributes | {
        "type": "node.failed",
        "subject": f"{TASK}/a",
        "data": shown(run, "a"),
    }
    summary = views.summary(Snapshot(run.head, NOW, run=run))
    progress = task_event("task.progress", **told, data=summary)  # type: ignore[arg-type]
    document = msgspec.json.decode(encode(progress))
    assert document["subject"] == TASK
    assert "failedNodeDetails" not in document["data"]
