"""What somebody needs to have a task's credentials used.

For stored ones the verb ``use`` on ``credentials``; for a Secret that, or to be allowed to get it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from coordinator.access.callers import Permission, Resource, Right, SecretRead, Verb
from coordinator.core.task import TaskSpec

USE: Final = Permission(Verb.USE, Resource.CREDENTIALS)


async def missing_right(spec: TaskSpec, may: Callable[[Right], Awaitable[bool]]) -> Right | None:
    """The first right that is missing; None where all are there. Raises what ``may`` raises."""
    if await may(USE):
        return None
    if spec.credentials:
        return USE
    for secret in spec.pull_secrets:
        namespace, _, name = secret.partition("/")
        right = SecretRead(namespace, name)
        if not await may(right):
            return right
    return None
