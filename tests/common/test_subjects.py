from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import subjects
from common.subjects import AgentAddress, AttemptKey, EventKey

TASK = "task-20260116-151234-a1b2c3d4"
INSTANCE = "0123456789abcdef"
HEAD = "ips.v1"

LABEL = st.text("abz019-", min_size=1, max_size=6).filter(
    lambda text: not text.startswith("-") and not text.endswith("-")
)
NODES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
INSTANCES = st.text("0123456789abcdef", min_size=16, max_size=16)
TASKS = st.builds(
    "task-{:08d}-{:06d}-{:08x}".format,
    st.integers(0, 99_999_999),
    st.integers(0, 999_999),
    st.integers(0, 2**32 - 1),
)
EVENT_TYPES = st.sampled_from(["task.created", "task.progress", "node.failed"])
SET_EVENT_TYPES = st.sampled_from(["set.created", "set.progress", "set.node.warm"])
SETS = st.from_regex(subjects.SET_NAME, fullmatch=True)

Build = Callable[[str, str], str]
Parse = Callable[[str], AgentAddress | None]
AGENT_PAIRS: list[tuple[Build, Parse]] = [
    (subjects.command, subjects.parse_command),
    (subjects.heartbeat, subjects.parse_heartbeat),
    (subjects.progress, subjects.parse_progress),
    (subjects.outcome, subjects.parse_outcome),
    (subjects.inventory, subjects.parse_inventory),
    (subjects.query, subjects.parse_query),
]


def is_one_subject(text: str) -> bool:
    """Whether NATS takes a text as a subject to publish to: tokens, no wildcard, no space."""
    return all(text.split(".")) and not set(text) & set(" *>\t\r\n")


@given(NODES, INSTANCES)
@example("a" * 253, INSTANCE)
@example("node-1.zone.example", INSTANCE)
def test_agent_round_trip(node: str, instance: str) -> None:
    """What is built for an agent is one subject, and names the agent to its own parser only."""
    for build, parse in AGENT_PAIRS:
        subject = build(node, instance)
        assert is_one_subject(subject)
        assert parse(subject) == AgentAddress(node, instance)
        others = [other for _, other in AGENT_PAIRS if other is not parse]
        assert all(other(subject) is None for other in others)


@given(NODES, INSTANCES, st.integers(1, 10**19 - 1))
@example("a" * 253, INSTANCE, 1)
@example("node-1.zone.example", INSTANCE, 1)
def test_agent_inbox_round_trip(node: str, instance: str, number: int) -> None:
    """An answer's subject names its agent, and what a permission for the node's own covers."""
    reply = f"{subjects.agent_inbox(node, instance)}.{number}"
    assert is_one_subject(reply)
    assert subjects.parse_agent_inbox(reply) == AgentAddress(node, instance)
    assert covers(f"{subjects.inboxes_of(node)}.>", reply)


@given(TASKS, NODES, st.integers(1, 999_999_999))
def test_result_round_trip(task: str, node: str, attempt: int) -> None:
    """An outcome's subject names its attempt."""
    subject = subjects.result(task, node, attempt)
    assert is_one_subject(subject)
    assert subjects.parse_result(subject) == AttemptKey(task, node, attempt)


@given(EVENT_TYPES, TASKS)
def test_event_round_trip(event_type: str, task: str) -> None:
    """An event's subject names its type and its task."""
    subject = subjects.event(event_type, task)
    assert is_one_subject(subject)
    assert subjects.parse_event(subject) == EventKey(event_type, task)


@given(NODES, NODES)
@example("a.b", "a-b")
def test_nodes_do_not_collide(one: str, other: str) -> None:
    """Two nodes share a subject only where they are one node."""
    same = subjects.command(one, INSTANCE) == subjects.command(other, INSTANCE)
    assert same == (one == other)


PIECES = st.sampled_from(
    [
        *(HEAD, "ips", "v1", "command", "heartbeat", "result", "event", "task", "created", ""),
        *(
            TASK,
            INSTANCE,
            "node-1",
            "a_b",
            "a__b",
            "-",
            "1",
            "0",
            "01",
            "\u0661",
            "9" * 5000,
            ">",
            "*",
        ),
    ]
)


@given(st.lists(PIECES, max_size=8).map(".".join))
@example(f"{HEAD}.result.{TASK}.a.{'9' * 5000}")
def test_any_subject(subject: str) -> None:
    """A parser takes any text, and what it takes is what its builder builds."""
    for build, parse in AGENT_PAIRS:
        agent = parse(subject)
        assert agent is None or build(*agent) == subject
    asking = subjects.parse_agent_inbox(subject)
    assert asking is None or subject.startswith(f"{subjects.agent_inbox(*asking)}.")
    attempt = subjects.parse_result(subject)
    assert attempt is None or subjects.result(*attempt) == subject
    event = subjects.parse_event(subject)
    assert event is None or subjects.event(*event) == subject


@pytest.mark.parametrize(
    "name",
    ["", "A", "a_b", "a..b", ".a", "a.", "-a", "a-", "a b", "a" * 254, "\u00e4", "a\n", "*", ">"],
)
def test_no_node(name: str) -> None:
    """A name that Kubernetes would not give a node reaches no subject."""
    assert not subjects.is_node_name(name)
    with pytest.raises(ValueError, match="not a node name"):
        subjects.command(name, INSTANCE)


@pytest.mark.parametrize("task", ["", "*", ">", TASK + ".x", TASK.upper(), TASK[:-1], TASK + "\n"])
def test_no_task(task: str) -> None:
    """No other text becomes a task's token: a wildcard there would purge every task's outcomes."""
    for build in (subjects.results_of, subjects.events_of):
        with pytest.raises(ValueError, match="not a task id"):
            build(task)
    with pytest.raises(ValueError, match="not a task id"):
        subjects.event("task.created", task)
    with pytest.raises(ValueError, match="not a task id"):
        subjects.result(task, "a", 1)


def test_task_id_digits() -> None:
    """Digits of other scripts are no digits."""
    assert subjects.is_task_id(TASK)
    assert not subjects.is_task_id(TASK.replace("2026", "\u0662026"))


@pytest.mark.parametrize("attempt", [0, -1, 10**9])
def test_no_attempt(attempt: int) -> None:
    """Attempts count from 1, and never as far as a parser's bound."""
    with pytest.raises(ValueError, match="number of an attempt"):
        subjects.result(TASK, "a", attempt)


@pytest.mark.parametrize("instance", ["", "0123", INSTANCE.upper(), INSTANCE + "0", "*"])
def test_no_instance(instance: str) -> None:
    """An instance is 16 hex digits."""
    for build in (subjects.command, subjects.agent_inbox):
        with pytest.raises(ValueError, match="not an instance"):
            build("a", instance)


@pytest.mark.parametrize("event_type", ["", "task", "task.", "task.a.b", "Task.created", "*.*"])
def test_no_event_type(event_type: str) -> None:
    """An event's type is two words, so that its subject can be read back."""
    with pytest.raises(ValueError, match="not a type of event"):
        subjects.event(event_type, TASK)


def covers(pattern: str, subject: str) -> bool:
    """Whether a NATS subscription on a pattern receives a subject."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, tokens = wanted[:-1], tokens[: len(wanted) - 1]
    return len(wanted) == len(tokens) and all(
        want in {"*", token} for want, token in zip(wanted, tokens, strict=True)
    )


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (subjects.ALL_HEARTBEATS, subjects.heartbeat("a.b", INSTANCE)),
        (subjects.ALL_PROGRESS, subjects.progress("a.b", INSTANCE)),
        (subjects.ALL_OUTCOMES, subjects.outcome("a.b", INSTANCE)),
        (subjects.ALL_RESULTS, subjects.result(TASK, "a.b", 1)),
        (subjects.results_of(TASK), subjects.result(TASK, "a.b", 1)),
        (subjects.ALL_EVENTS, subjects.event("task.created", TASK)),
        (subjects.events_of(TASK), subjects.event("task.created", TASK)),
    ],
)
def test_patterns(pattern: str, subject: str) -> None:
    """A pattern covers the subjects that it is made for."""
    assert covers(pattern, subject)


@given(SET_EVENT_TYPES, SETS)
def test_an_event_of_a_set_comes_back(event_type: str, name: str) -> None:
    """And is none of a task, whatever the set is called."""
    about = subjects.about_set(name)
    subject = subjects.event(event_type, about)
    assert subjects.parse_event(subject) == EventKey(event_type, about)
    assert subject.startswith(subjects.events_of(about).removesuffix(">"))
    assert not subject.endswith(f".{name}")


def test_a_set_that_is_called_as_a_task() -> None:
    """Its events are not those of the task."""
    about = subjects.about_set(TASK)
    assert subjects.event("set.ready", about) == f"ips.v1.event.set.{TASK}.ready"
    for event_type, whose in (("set.ready", TASK), ("task.created", about), ("set.a.b.c", about)):
        with pytest.raises(ValueError, match="not a type of event"):
            subjects.event(event_type, whose)
    with pytest.raises(ValueError, match="not the name"):
        subjects.about_set("a.b")
