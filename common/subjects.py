"""Every subject, stream and bucket of the service, and their settings: the broker's language.

Subjects are build/parse pairs. A node name holds dots and a NATS token may not: ``.`` travels as
``_``, which no Kubernetes name contains.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

PREFIX = "ips.v1"
MAX_MESSAGE_BYTES = 256 * 1024
"""No message of the service is larger. NATS itself refuses 1 MiB."""

NODE_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
"""The form of a node name, an RFC 1123 subdomain, as a regular expression."""
_NODE_NAME = re.compile(NODE_NAME)
NODE_NAME_LIMIT = 253
NODES_REMEMBERED = 16_384
"""Names that are checked once: of an attempt each is read or written eight times."""
TASK_ID = "task-[0-9]{8}-[0-9]{6}-[0-9a-f]{8}"
"""The form of a task's id, as a regular expression."""
PURGE_ID = "purge-[0-9]{8}-[0-9]{6}-[0-9a-f]{8}"
"""The form of a purge's id, as a regular expression."""
_PURGE_ID = re.compile(PURGE_ID)
ATTEMPTS = 999_999_999
"""The highest number that an attempt can have."""
_TASK_ID = re.compile(TASK_ID)
_INSTANCE = re.compile(r"[0-9a-f]{16}")
SET_NAME = r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?"
"""The form of a set's name, an RFC 1123 label of at most 50 characters, as a regular expression."""
_OF_SET = re.compile(rf"set/({SET_NAME})")
_EVENT_TYPE = re.compile(r"(?!set\.)[a-z]+\.[a-z]+")
_SET_EVENT_TYPE = re.compile(r"set((?:\.[a-z]+){1,2})")
_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}")

# The node's token is checked where it is decoded.
_HEAD = re.escape(PREFIX)
_AGENT_SUBJECT = re.compile(rf"{_HEAD}\.([a-z]+)\.([^.]+)\.({_INSTANCE.pattern})")
_RESULT_SUBJECT = re.compile(rf"{_HEAD}\.result\.({TASK_ID})\.([^.]+)\.({_ATTEMPT.pattern})")
_AGENT_INBOX = re.compile(rf"_INBOX\.agent\.([^.]+)\.({_INSTANCE.pattern})\.[0-9]{{1,19}}")
_EVENT_SUBJECT = re.compile(rf"{_HEAD}\.event\.({_EVENT_TYPE.pattern})\.({TASK_ID})")
_SET_EVENT_SUBJECT = re.compile(rf"{_HEAD}\.event\.set\.({SET_NAME})((?:\.[a-z]+){{1,2}})")


def is_node_name(name: str) -> bool:
    """Whether a name is an RFC 1123 subdomain (else ``a_b`` and ``a.b`` collided on a subject)."""
    return len(name) <= NODE_NAME_LIMIT and _NODE_NAME.fullmatch(name) is not None


def is_task_id(text: str) -> bool:
    """Whether a text has the form of a task id, ``task-YYYYMMDD-HHMMSS-`` and 8 hex digits."""
    return _TASK_ID.fullmatch(text) is not None


def is_purge_id(text: str) -> bool:
    """Whether a text has the form of a purge's id."""
    return _PURGE_ID.fullmatch(text) is not None


def _task_token(task: str) -> str:
    if not is_task_id(task):
        raise ValueError(f"not a task id: {task!r}")
    return task


@lru_cache(maxsize=NODES_REMEMBERED)
def _encode_node(node: str) -> str:
    if not is_node_name(node):
        raise ValueError(f"not a node name: {node!r}")
    return node.replace(".", "_")


@lru_cache(maxsize=NODES_REMEMBERED)
def _decode_node(token: str) -> str | None:
    node = token.replace("_", ".")
    return node if is_node_name(node) else None


class AgentAddress(NamedTuple):
    """One run of an agent: the node it serves and the random instance of this run."""

    node: str
    instance: str


class AttemptKey(NamedTuple):
    """The identity of an attempt; ``attempt`` counts from 1."""

    task: str
    node: str
    attempt: int


def _agent_subject(kind: str, node: str, instance: str) -> str:
    if not _INSTANCE.fullmatch(instance):
        raise ValueError(f"not an instance: {instance!r}")
    return f"{PREFIX}.{kind}.{_encode_node(node)}.{instance}"


def _parse_agent_subject(kind: str, subject: str) -> AgentAddress | None:
    found = _AGENT_SUBJECT.fullmatch(subject)
    if found is None or found[1] != kind:
        return None
    node = _decode_node(found[2])
    return None if node is None else AgentAddress(node, found[3])


# ── core NATS ────────────────────────────────────────────────────────────────────────────────

REPORT = f"{PREFIX}.report"
"""A starting leader's broadcast to all agents (``messages.Report``)."""
BRIEFING = f"{PREFIX}.briefing"
"""What the leader tells the coordinators that follow."""
BRIEFING_WANTED = f"{PREFIX}.briefing.wanted"
"""Where one of them asks for all of it."""
ALL_HEARTBEATS = f"{PREFIX}.heartbeat.*.*"
ALL_PROGRESS = f"{PREFIX}.progress.*.*"
ALL_OUTCOMES = f"{PREFIX}.outcome.*.*"
ALL_INVENTORIES = f"{PREFIX}.inventory.*.*"
COORDINATORS = "ips-coordinators"
"""The queue group of all coordinators: one of them gets each outcome."""


def command(node: str, instance: str) -> str:
    """Where one agent instance takes its commands (``messages.Command``)."""
    return _agent_subject("command", node, instance)


def parse_command(subject: str) -> AgentAddress | None:
    """The agent that a command's subject names; None for anything else."""
    return _parse_agent_subject("command", subject)


def heartbeat(node: str, instance: str) -> str:
    """Where one agent instance says what it is (``messages.Heartbeat``)."""
    return _agent_subject("heartbeat", node, instance)


def parse_heartbeat(subject: str) -> AgentAddress | None:
    """The agent that a heartbeat's subject names; None for anything else."""
    return _parse_agent_subject("heartbeat", subject)


def progress(node: str, instance: str) -> str:
    """Where one agent instance says how far it is (``messages.Progress``)."""
    return _agent_subject("progress", node, instance)


def parse_progress(subject: str) -> AgentAddress | None:
    """The agent that a progress report's subject names; None for anything else."""
    return _parse_agent_subject("progress", subject)


def outcome(node: str, instance: str) -> str:
    """Where one agent instance asks for an outcome to be stored (``messages.OutcomeRequest``)."""
    return _agent_subject("outcome", node, instance)


def parse_outcome(subject: str) -> AgentAddress | None:
    """The agent that asks; None for anything else."""
    return _parse_agent_subject("outcome", subject)


def inventory(node: str, instance: str) -> str:
    """Where one agent instance says which images are there (``inventory.Inventory``)."""
    return _agent_subject("inventory", node, instance)


def parse_inventory(subject: str) -> AgentAddress | None:
    """The agent that an inventory's subject names; None for anything else."""
    return _parse_agent_subject("inventory", subject)


def query(node: str, instance: str) -> str:
    """Where one agent instance is told and asked about images (``inventory.InventoryQuestion``)."""
    return _agent_subject("query", node, instance)


def parse_query(subject: str) -> AgentAddress | None:
    """The agent that a question's subject names; None for anything else."""
    return _parse_agent_subject("query", subject)


def inboxes_of(node: str) -> str:
    """What every inbox of a node's agents begins with: a permission can name the node by its place.

    Under ``_INBOX``, so that who was allowed that may go on.
    """
    return f"_INBOX.agent.{_encode_node(node)}"


def agent_inbox(node: str, instance: str) -> str:
    """Where the answers to one agent instance come, each on a subject ``<inbox>.<number>``."""
    if not _INSTANCE.fullmatch(instance):
        raise ValueError(f"not an instance: {instance!r}")
    return f"{inboxes_of(node)}.{instance}"


def parse_agent_inbox(reply: str) -> AgentAddress | None:
    """The agent that an answer would go to; None where it would go anywhere else."""
    found = _AGENT_INBOX.fullmatch(reply)
    node = _decode_node(found[1]) if found else None
    return AgentAddress(node, found[2]) if found and node else None


def said_by(node: str) -> tuple[str, ...]:
    """All that agents of one node may publish of themselves.

    None of it comes back to them: who may answer what it hears (NATS: allow_responses) could
    otherwise name any subject as the reply of a message to itself, and publish there (tried).
    """
    token = _encode_node(node)
    kinds = ("heartbeat", "progress", "outcome", "inventory")
    return tuple(f"{PREFIX}.{kind}.{token}.*" for kind in kinds)


def heard_by(node: str) -> tuple[str, ...]:
    """All that agents of one node may subscribe to."""
    own = tuple(f"{PREFIX}.{kind}.{_encode_node(node)}.*" for kind in ("command", "query"))
    return (*own, REPORT, f"{inboxes_of(node)}.>")


# ── JetStream ────────────────────────────────────────────────────────────────────────────────

RESULTS = "IPS_RESULTS"
EVENTS = "IPS_EVENTS"
AUDIT = "IPS_AUDIT"
"""Who changed what, and who was refused."""
TASKS_BUCKET = "IPS_TASKS"
"""Task heads: key ``<task>``."""
LISTS_BUCKET = "IPS_LISTS"
"""Node lists of started tasks and named nodes of created ones: key ``<task>.<kind>.<chunk>``."""
KEYS_BUCKET = "IPS_KEYS"
"""Idempotency keys: key ``idem.<sha256>``."""
LEASE_BUCKET = "IPS_LEASE"
SETS_BUCKET = "IPS_SETS"
"""Warm sets: key ``<set>``."""
SET_NOTES_BUCKET = "IPS_SET_NOTES"
"""What the leader remembers of warm sets: key ``<set>``; of their nodes, ``<set>.<number>``; of
gates, ``_gates``."""
CREDENTIALS_BUCKET = "IPS_CREDENTIALS"
"""Credentials of registries, their secrets sealed: key ``<credential>``."""
PURGES_BUCKET = "IPS_PURGES"
"""Purges of images: key ``<purge>``, and ``<purge>.<part>`` for what became of its nodes."""
NODES_BUCKET = "IPS_NODES"
"""Nodes that are known by their agents' word alone: key ``<node>``."""

ALL_RESULTS = f"{PREFIX}.result.*.*.*"
ALL_EVENTS = f"{PREFIX}.event.>"
ALL_SET_EVENTS = f"{PREFIX}.event.set.>"
EVENTS_MAX_AGE_SECONDS = 24 * 3600
EVENTS_MAX_BYTES = 1024**3
ALL_AUDIT = f"{PREFIX}.audit.*"
AUDIT_MAX_DAYS = 90
AUDIT_MAX_BYTES = 1024**3


def result(task: str, node: str, attempt: int) -> str:
    """Where the outcome of one attempt is stored, once (``messages.Outcome``)."""
    if not _ATTEMPT.fullmatch(str(attempt)):
        raise ValueError(f"not the number of an attempt, which count from 1: {attempt!r}")
    return f"{PREFIX}.result.{_task_token(task)}.{_encode_node(node)}.{attempt}"


def results_of(task: str) -> str:
    """Every outcome of one task."""
    return f"{PREFIX}.result.{_task_token(task)}.*.*"


def results_on(node: str) -> str:
    """Every outcome of one node, of whatever task."""
    return f"{PREFIX}.result.*.{_encode_node(node)}.*"


def results_at(task: str, node: str) -> str:
    """Every outcome of one node in one task."""
    return f"{PREFIX}.result.{_task_token(task)}.{_encode_node(node)}.*"


def parse_result(subject: str) -> AttemptKey | None:
    """The attempt that an outcome's subject names; None for anything else."""
    found = _RESULT_SUBJECT.fullmatch(subject)
    node = _decode_node(found[2]) if found else None
    return AttemptKey(found[1], node, int(found[3])) if found and node else None


def node_key(node: str) -> str:
    """The key under which a node is kept."""
    return _encode_node(node)


def parse_node_key(key: str) -> str | None:
    """The node that a key names; None for anything else."""
    return None if "." in key else _decode_node(key)


class EventKey(NamedTuple):
    """What an event's subject says: its type (``task.created``…) and what it is about."""

    type: str
    about: str
    """A task, or ``set/<name>``: no task's id, whatever the set is called."""


def about_set(name: str) -> str:
    """What the events of a set are about."""
    about = f"set/{name}"
    if not _OF_SET.fullmatch(about):
        raise ValueError(f"not the name of a set: {name!r}")
    return about


def event(event_type: str, about: str) -> str:
    """Where an event is published.

    Of a task under its two-part type and the task; of a set under the set, so that one wildcard
    stands for all of a set's events and for those of no task.
    """
    of_set, set_type = _OF_SET.fullmatch(about), _SET_EVENT_TYPE.fullmatch(event_type)
    if of_set is not None and set_type is not None:
        return f"{PREFIX}.event.set.{of_set[1]}{set_type[1]}"
    if of_set is not None or not _EVENT_TYPE.fullmatch(event_type):
        raise ValueError(f"not a type of event: {event_type!r}")
    return f"{PREFIX}.event.{event_type}.{_task_token(about)}"


def events_of(about: str) -> str:
    """Every event of one task, or of one set (``set/<name>``)."""
    of_set = _OF_SET.fullmatch(about)
    if of_set is not None:
        return f"{PREFIX}.event.set.{of_set[1]}.>"
    return f"{PREFIX}.event.*.*.{_task_token(about)}"


def parse_event(subject: str) -> EventKey | None:
    """The type that an event's subject names, and what it is about; None for anything else."""
    if found := _EVENT_SUBJECT.fullmatch(subject):
        return EventKey(found[1], found[2])
    if found := _SET_EVENT_SUBJECT.fullmatch(subject):
        return EventKey(f"set{found[3]}", f"set/{found[1]}")
    return None


def audit(user: str) -> str:
    """Where is stored what somebody did: by the name's hash, since a name may hold anything."""
    return f"{PREFIX}.audit.{hashlib.sha256(user.encode()).hexdigest()[:32]}"
