"""Subjects and who is interested in them: ``*`` stands for one token, ``>`` for all that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class _Branch(Generic[_Item]):
    __slots__ = ("any_tail", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Branch[_Item]] = {}
        self.here: list[_Item] = []
        self.any_tail: list[_Item] = []


class SubjectTree(Generic[_Item]):
    """Finds the items whose pattern matches a subject, always in the same order."""

    def __init__(self) -> None:
        self._root: _Branch[_Item] = _Branch()

    def add(self, pattern: str, item: _Item) -> None:
        """Have an item found by all subjects that a pattern matches."""
        self._place(pattern).append(item)

    def remove(self, pattern: str, item: _Item) -> None:
        """Take back ``add``; empty branches go, for inboxes come and go."""
        self._place(pattern).remove(item)
        self._prune(self._root, pattern.split("."))

    def match(self, subject: str) -> list[_Item]:
        """All items that a subject without wildcards finds."""
        branches, found = [self._root], []
        for token in subject.split("."):
            deeper = []
            for branch in branches:
                found += branch.any_tail
                if (child := branch.children.get(token)) is not None:
                    deeper.append(child)
                if (child := branch.children.get("*")) is not None:
                    deeper.append(child)
            if not deeper:
                return found
            branches = deeper
        for branch in branches:
            found += branch.here
        return found

    def _place(self, pattern: str) -> list[_Item]:
        branch = self._root
        *tokens, last = pattern.split(".")
        for token in tokens:
            branch = branch.children.setdefault(token, _Branch())
        if last == ">":
            return branch.any_tail
        return branch.children.setdefault(last, _Branch()).here

    def _prune(self, branch: _Branch[_Item], tokens: list[str]) -> bool:
        child = branch.children.get(tokens[0]) if tokens else None
        if child is not None and self._prune(child, tokens[1:]):
            del branch.children[tokens[0]]
        return not (branch.children or branch.here or branch.any_tail)


class Filter:
    """Whether a subject matches one of several patterns."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.literals = frozenset(p for p in patterns if not {"*", ">"} & set(p.split(".")))
        """The patterns that match one subject only."""
        self.only_literals = len(self.literals) == len(set(patterns))
        self._everything = ">" in patterns
        wild = [p for p in patterns if p not in self.literals]
        self._prefixes = tuple(p[:-1] for p in wild if p.endswith(".>") and "*" not in p)
        self._others = [p.split(".") for p in wild if "*" in p]

    def matches(self, subject: str) -> bool:
        """Ask about a subject without wildcards."""
        return (
            self._everything
            or subject in self.literals
            or subject.startswith(self._prefixes)
            or any(_fits(pattern, subject.split(".")) for pattern in self._others)
        )


def overlap(one: str, other: str) -> bool:
    """Whether some subject matches both patterns."""
    first, second = one.split("."), other.split(".")
    for a, b in zip(first, second, strict=False):
        if ">" in {a, b}:
            return True
        if a != b and "*" not in {a, b}:
            return False
    return len(first) == len(second)


def _fits(pattern: Sequence[str], tokens: Sequence[str]) -> bool:
    for wanted, token in zip(pattern, tokens, strict=False):
        if wanted == ">":
            return True
        if wanted not in {"*", token}:
            return False
    return len(pattern) == len(tokens)
