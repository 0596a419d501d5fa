"""Outside of Kubernetes what a caller may do comes from groups: each role is a set of permissions.

The three roles are those of the ClusterRoles in ``deploy/``; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import product
from typing import Final

from coordinator.access.callers import Caller, Permission, Resource, Right, Verb, is_name

Groups = Mapping[str, "Role"]
"""The role of each group that has one."""


class Role(StrEnum):
    """What a group's members may do. Each includes the one before it."""

    VIEW = "view"
    EDIT = "edit"
    ADMIN = "admin"


def _all(verbs: Iterable[Verb], resources: Iterable[Resource]) -> frozenset[Permission]:
    return frozenset(Permission(verb, resource) for verb, resource in product(verbs, resources))


_LOOK: Final = (Verb.GET, Verb.LIST, Verb.WATCH)
_CHANGE: Final = (Verb.CREATE, Verb.UPDATE, Verb.DELETE)
_WORK: Final = (Resource.TASKS, Resource.SETS)
_VIEW: Final = _all(_LOOK, (*_WORK, Resource.NODES)) | _all((Verb.GET,), (Resource.METRICS,))
_PURGE: Final = Permission(Verb.DELETE, Resource.IMAGES)
_EDIT: Final = _VIEW | _all(_CHANGE, _WORK) | {_PURGE}
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEW: _VIEW,
    Role.EDIT: _EDIT,
    Role.ADMIN: _EDIT
    | _all((*_LOOK, *_CHANGE, Verb.USE), (Resource.CREDENTIALS,))
    | _all(_LOOK, (Resource.AUDIT,)),
}


def parse_groups(value: str) -> Groups:
    """``viewers=view,ops=edit``. Raises ValueError."""
    groups: dict[str, Role] = {}
    for pair in value.split(","):
        group, equals, role = pair.strip().rpartition("=")
        if not equals or not is_name(group) or group in groups:
            raise ValueError(pair)
        groups[group] = Role(role)
    return groups


def may(caller: Caller, right: Right, groups: Groups) -> bool:
    """Whether one of a caller's groups has a role that includes the right."""
    roles = {groups[group] for group in caller.groups if group in groups}
    return any(right in PERMISSIONS[role] for role in roles)
