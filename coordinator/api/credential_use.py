"""Whether a caller may have the stored credentials used that a task or set names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from msgspec.structs import replace

from common import credential_texts, texts
from coordinator.access.callers import AuthorityAwayError, Caller, Permission, Resource, Verb
from coordinator.access.gatekeeper import Gatekeeper
from coordinator.api.faults import fault
from coordinator.api.problems import Refusal, bad_request, unavailable
from coordinator.core.task import Asker, TaskSpec
from coordinator.credentials.table import CredentialTable

USE: Final = Permission(Verb.USE, Resource.CREDENTIALS)
ASKER_BYTES: Final = 16 * 1024
"""Of whom an authority is asked about again: it is stored with the task."""
_OF_THE_MOMENT: Final = "authentication.kubernetes.io/"
"""Begins what Kubernetes says of a token and not of its owner: its id, and the pod it is in."""


class CredentialUse:
    """Asks, and notes who is to be asked about again before each use."""

    def __init__(self, keeper: Gatekeeper, table: CredentialTable) -> None:
        self._keeper = keeper
        self._table = table

    async def admit(self, caller: Caller, spec: TaskSpec) -> TaskSpec:
        """The task as it may be. Raises the Refusal where it may not, and StoreAway."""
        if not spec.credentials:
            return spec if spec.asked_by is None else replace(spec, asked_by=None)
        await self._demand(caller)
        unknown = [
            fault(f"/credentials/{place}", credential_texts.CREDENTIAL_UNKNOWN(name=name))
            for place, name in enumerate(spec.credentials)
            if await self._table.find(name) is None
        ]
        if unknown:
            raise bad_request(unknown)
        return replace(spec, asked_by=_asker(caller))

    async def _demand(self, caller: Caller) -> None:
        try:
            allowed = await self._keeper.may(caller, USE)
        except AuthorityAwayError as away:
            raise unavailable(away.text) from away
        if not allowed:
            text = texts.ACCESS_FORBIDDEN(user=caller.user, verb=USE.verb, resource=USE.resource)
            raise Refusal(HTTPStatus.FORBIDDEN, text)


def _asker(caller: Caller) -> Asker | None:
    if not caller.is_known:
        return None
    asker = Asker(
        user=caller.user,
        way=caller.way,
        groups=caller.groups,
        extra={k: v for k, v in caller.extra if not k.startswith(_OF_THE_MOMENT)},
    )
    if len(msgspec.json.encode(asker)) > ASKER_BYTES:
        raise bad_request(
            [fault("/credentials", credential_texts.CREDENTIAL_TOO_MANY_GROUPS(user=caller.user))]
        )
    return asker
