"""What a caller may warm: rules about images, nodes and urgency. Pure; the file is JSON.

``{"rules": [{"name": "shop", "who": {"groups": ["shop"]}, "images": ["registry.example/shop/**"],
"nodes": {"nodeSelector": {"team": "shop"}}, "maxPriority": 7, "maxNodes": 500}]}``. The first rule
for a caller that allows all images of a task counts, and its nodes are added to the task's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from common import texts
from common.labels import is_label_key, is_label_value
from common.messages import NOT_DECODABLE
from common.text import Text
from coordinator.access.callers import NAME_CHARACTERS, Caller
from coordinator.core.task import Operator, Requirement, TaskImage

EVERYBODY: Final = "*"
RULE_BYTES: Final = 16 * 1024
"""Of a rule's nodes, which become a part of each task's head."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
ANY_PARTS: Final = "**"

_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]
_Names = Annotated[tuple[_Name, ...], Meta(max_length=10_000)]
_Glob = Annotated[str, Meta(min_length=1, max_length=1024)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of the file: what is misspelt in it is an error."""


class Who(_Part, frozen=True, kw_only=True):
    """Whom a rule is for: any of these users, or anybody in one of these groups."""

    users: _Names = ()
    groups: _Names = ()


class Expression(_Part, frozen=True, kw_only=True):
    """A label requirement, as Kubernetes writes it."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class NodesOfRule(_Part, frozen=True, kw_only=True):
    """Which nodes a rule is about."""

    node_selector: Mapping[str, str] = {}
    match_expressions: tuple[Expression, ...] = ()

    def requirements(self) -> tuple[Requirement, ...]:
        """All of it as requirements, of which a task may have several of one label."""
        selected = [
            Requirement(key=key, operator=Operator.IN, values=(value,))
            for key, value in sorted(self.node_selector.items())
        ]
        expressed = [
            Requirement(key=each.key, operator=each.operator, values=each.values)
            for each in self.match_expressions
        ]
        return (*selected, *expressed)


class Rule(_Part, frozen=True, kw_only=True):
    """What some callers may warm."""

    name: Annotated[str, Meta(max_length=100)] = ""
    who: Who | None = None
    """None: everybody."""
    images: Annotated[tuple[_Glob, ...], Meta(min_length=1, max_length=1000)]
    """Patterns of full references, ``docker.io/library/redis:7``; see ``glob_matches``."""
    nodes: NodesOfRule = NodesOfRule()
    max_priority: Annotated[int, Meta(ge=1, le=10)] = 10
    max_nodes: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None

    def is_for(self, caller: Caller) -> bool:
        """Whether the rule is about a caller."""
        if self.who is None:
            return True
        named = caller.is_known and (caller.user in self.who.users or EVERYBODY in self.who.users)
        return named or not set(caller.groups).isdisjoint(self.who.groups)

    def allows(self, image: TaskImage) -> bool:
        """Whether an image may be warmed by this rule."""
        return any(glob_matches(each, image.reference) for each in self.images)


class Policy(_Part, frozen=True, kw_only=True):
    """All rules, the first that fits first."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=1000)]

    def called(self, index: int) -> str:
        """How a rule is called in messages."""
        return self.rules[index].name or f"number {index + 1}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """A task may be, with what a rule adds to it."""

    rule: str
    requirements: tuple[Requirement, ...]
    max_nodes: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A task may not be; why."""

    text: Text


def decide(
    policy: Policy, caller: Caller, images: Sequence[TaskImage], priority: int
) -> Allowed | Refused:
    """Whether a caller may warm these images, and how."""
    nearest: tuple[int, Text] | None = None
    for index, rule in enumerate(policy.rules):
        if not rule.is_for(caller):
            continue
        name = policy.called(index)
        refused = [image for image in images if not rule.allows(image)]
        if not refused and priority <= rule.max_priority:
            return Allowed(name, rule.nodes.requirements(), rule.max_nodes)
        text = (
            texts.POLICY_IMAGE(rule=name, image=refused[0].name)
            if refused
            else texts.POLICY_PRIORITY(rule=name, most=rule.max_priority, image=images[0].name)
        )
        if nearest is None or len(refused) < nearest[0]:
            nearest = len(refused), text
    if nearest is None:
        return Refused(texts.POLICY_NO_RULE(user=caller.user, image=images[0].name))
    return Refused(nearest[1])


def read_policy(text: str) -> Policy:
    """A policy from its file, checked as a whole. Raises ValueError, which names the place."""
    try:
        policy = msgspec.json.decode(text.encode(), type=Policy)
    except NOT_DECODABLE as why:
        raise ValueError(str(why) or "nested too deeply") from why
    for index, rule in enumerate(policy.rules):
        for wrong in _faults(rule):
            raise ValueError(f"rule {policy.called(index)}: {wrong}")
    return policy


def _faults(rule: Rule) -> list[str]:
    """What a type cannot say."""
    found = [
        f"** in {pattern!r} is no whole part between slashes"
        for pattern in rule.images
        if any(ANY_PARTS in part and part != ANY_PARTS for part in pattern.split("/"))
    ]
    if rule.who is not None and not (rule.who.users or rule.who.groups):
        found.append("who names nobody; leave it out for everybody")
    for requirement in rule.nodes.requirements():
        if not is_label_key(requirement.key) or not all(map(is_label_value, requirement.values)):
            found.append(f"{requirement.key!r} or one of its values is no label")
        if not _takes(requirement.operator, requirement.values):
            found.append(f"{requirement.operator} does not take {len(requirement.values)} values")
    if len(msgspec.json.encode(rule.nodes)) > RULE_BYTES:
        found.append(f"its nodes take more than {RULE_BYTES:,} bytes")
    return found


def _takes(operator: Operator, values: Sequence[str]) -> bool:
    match operator:
        case Operator.IN | Operator.NOT_IN:
            return bool(values)
        case Operator.EXISTS | Operator.DOES_NOT_EXIST:
            return not values
        case Operator.GT | Operator.LT:
            return len(values) == 1 and _INTEGER.fullmatch(values[0]) is not None


def glob_matches(pattern: str, reference: str) -> bool:
    """Whether a pattern fits the whole of a reference, in time that grows with their lengths.

    ``**`` as a whole part between slashes stands for any number of parts, ``*`` within a part for
    any characters of it.
    """
    parts, given = pattern.split("/"), reference.split("/")
    at = star = 0
    resume = -1
    here = 0
    while here < len(given):
        if at < len(parts) and parts[at] == ANY_PARTS:
            star, resume = at, here
            at += 1
        elif at < len(parts) and _part_matches(parts[at], given[here]):
            at += 1
            here += 1
        elif resume >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(part == ANY_PARTS for part in parts[at:])


def _part_matches(pattern: str, text: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    *middle, last = others
    if not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return at <= end
