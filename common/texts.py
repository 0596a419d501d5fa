"""Every sentence that the service says to people, as a code with parameters and as English.

Whoever shows a sentence may word it anew from the code, in another language; whoever does not know
the code shows the English. What others said (a registry, a runtime) is a ``Text`` without a code.
A code, once published, keeps its meaning and its parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Annotated, Final, TypedDict

import msgspec
from msgspec import Meta

Param = str | int | float
"""What a sentence can hold. Lists are joined by whoever makes the text."""
Code = Annotated[str, Meta(max_length=64)]
Params = Annotated[dict[str, Param], Meta(max_length=16)]
"""As records and messages keep them."""

_CODE: Final = re.compile(r"[a-z][a-zA-Z]*(\.[a-z][a-zA-Z]*)*")


class Text(msgspec.Struct, frozen=True):
    """One sentence."""

    message: str
    """In English."""
    code: str = ""
    """Which sentence it is, for example ``node.unknown``; empty for what others said."""
    params: Mapping[str, Param] = {}
    """What stands in it, by name."""

    def __str__(self) -> str:
        return self.message


def text_of(message: str | None, code: str | None, params: Mapping[str, Param]) -> Text | None:
    """A text from the three fields in which it is kept; None where there is no message."""
    return Text(message, code or "", params) if message else None


class MessageFields(TypedDict):
    """The three fields in which records and messages keep a text."""

    message: str
    message_code: str
    message_params: dict[str, Param]


def fields_of(text: Text) -> MessageFields:
    """What to keep of a text: ``Outcome(**fields_of(text))``."""
    return {
        "message": text.message,
        "message_code": text.code,
        "message_params": dict(text.params),
    }


class Template:
    """A sentence with places: ``template(node="a")`` makes the text.

    ``english`` is a format string; its fields are the parameters.
    """

    def __init__(self, code: str, english: str) -> None:
        if _CODE.fullmatch(code) is None or code in _ALL:
            raise ValueError(f"{code} is no code, or there is one already")
        self.code = code
        self.english = english
        self.fields = frozenset(name for _, name, _, _ in Formatter().parse(english) if name)
        _ALL[code] = self

    def __call__(self, **params: Param) -> Text:
        """Fill it in. Raises KeyError where a parameter is missing."""
        return Text(self.english.format_map(params), self.code, params)


_ALL: Final[dict[str, Template]] = {}


def templates() -> Iterator[Template]:
    """Every sentence there is, for documents and for tests."""
    return iter(_ALL.values())


# ── nodes: why one takes no work, or was given up ────────────────────────────────────────────

NODE_UNKNOWN = Template("node.unknown", "No node of the name {node} is known.")
NODE_CONFLICT = Template("node.conflict", "Two agents run under the node name {node}: {instances}.")
NODE_UNSCHEDULABLE = Template(
    "node.unschedulable", "Node {node} is not ready or takes no new work."
)
NODE_NO_AGENT = Template("node.noAgent", "No agent of node {node} takes the work.")
NODE_UNKNOWN_WAITED = Template(
    "node.unknown.waited", f"{NODE_UNKNOWN.english} Waited for {{seconds:g}} s."
)
NODE_CONFLICT_WAITED = Template(
    "node.conflict.waited", f"{NODE_CONFLICT.english} Waited for {{seconds:g}} s."
)
NODE_UNSCHEDULABLE_WAITED = Template(
    "node.unschedulable.waited", f"{NODE_UNSCHEDULABLE.english} Waited for {{seconds:g}} s."
)
NODE_NO_AGENT_WAITED = Template(
    "node.noAgent.waited", f"{NODE_NO_AGENT.english} Waited for {{seconds:g}} s."
)
NODE_PROBLEM_WAITED = Template("node.problem.waited", "{problem} Waited for {seconds:g} s.")
AGENT_SILENT = Template(
    "agent.silent", "The agent of node {node} has not been heard for {seconds:g} s."
)
AGENT_DIED = Template("agent.died", "{times} runs of the agent ended while they were at it.")

# ── outcomes that say nothing by themselves ──────────────────────────────────────────────────

OUTCOME_UNDECODABLE = Template("outcome.undecodable", "The stored outcome cannot be decoded.")
OUTCOME_INCOMPLETE = Template("outcome.incomplete", "The outcome does not name every image.")

# ── tasks: why one waits, or ended as it did ─────────────────────────────────────────────────

TASK_QUEUED = Template(
    "task.queued", "Waits for a place: {running} tasks are running, at most {most} may."
)
TASK_STARTING = Template(
    "task.starting", "Waits for its nodes to be known and its start to be stored."
)
TASK_NO_MATCH = Template("task.noMatch", "No node matches {selection}.")
TASK_NO_NODES = Template("task.noNodes", "There is no node.")
TASK_NODES_GONE = Template(
    "task.nodesGone", "Every node of the task ceased to exist before it was done."
)
TASK_SOME_FAILED = Template(
    "task.someFailed", "{failed} of {total} nodes failed; at most {allowed} may."
)
TASK_TOO_MANY_FAILED = Template(
    "task.tooManyFailed",
    "{failed} of {total} nodes failed; at most {allowed} may. Most often: {reason}.",
)
