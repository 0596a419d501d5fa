from __future__ import annotations

from itertools import product

import pytest

from coordinator.access.callers import Caller, Permission, Resource, Verb, Way
from coordinator.access.roles import PERMISSIONS, Role, may, parse_groups

pytestmark = pytest.mark.pure
GROUPS = parse_groups("viewers=view, ops=edit,admins=admin")


def caller(*groups: str) -> Caller:
    """Somebody in these groups."""
    return Caller(user="ann", groups=groups, way=Way.TOKENS)


@pytest.mark.parametrize(
    ("groups", "verb", "resource", "allowed"),
    [
        ((), Verb.GET, Resource.TASKS, False),
        (("strangers",), Verb.GET, Resource.TASKS, False),
        (("viewers",), Verb.WATCH, Resource.TASKS, True),
        (("viewers",), Verb.LIST, Resource.NODES, True),
        (("viewers",), Verb.CREATE, Resource.TASKS, False),
        (("viewers",), Verb.LIST, Resource.AUDIT, False),
        (("viewers", "ops"), Verb.CREATE, Resource.TASKS, True),
        (("ops",), Verb.DELETE, Resource.SETS, True),
        (("ops",), Verb.CREATE, Resource.NODES, False),
        (("ops",), Verb.GET, Resource.CREDENTIALS, False),
        (("admins",), Verb.LIST, Resource.AUDIT, True),
        (("admins",), Verb.UPDATE, Resource.CREDENTIALS, True),
        (("admins",), Verb.DELETE, Resource.AUDIT, False),
    ],
)
def test_what_a_caller_may_do_comes_from_groups(
    groups: tuple[str, ...], verb: Verb, resource: Resource, allowed: bool
) -> None:
    """Any group with a role counts, and no other."""
    assert may(caller(*groups), Permission(verb, resource), GROUPS) is allowed


def test_each_role_includes_the_one_before_it() -> None:
    """And nobody may change the audit or the nodes."""
    assert PERMISSIONS[Role.VIEW] < PERMISSIONS[Role.EDIT] < PERMISSIONS[Role.ADMIN]
    for verb, resource in product(
        (Verb.CREATE, Verb.UPDATE, Verb.DELETE), (Resource.AUDIT, Resource.NODES)
    ):
        assert Permission(verb, resource) not in PERMISSIONS[Role.ADMIN]
