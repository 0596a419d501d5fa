"""Whether a caller may have the stored credentials used that a task or set names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from msgspec.structs import replace

from common import credential_texts, texts
from coordinator.access.callers import AuthorityAwayError, Caller, SecretRead
from coordinator.access.credential_rights import missing_right
from coordinator.access.gatekeeper import Gatekeeper
from coordinator.api.faults import fault
from coordinator.api.problems import Refusal, bad_request, unavailable
from coordinator.core.task import Asker, TaskSpec
from coordinator.credentials.pull_secret import PullSecretError, PullSecrets
from coordinator.credentials.table import CredentialTable
from coordinator.documents import Fault

ASKER_BYTES: Final = 16 * 1024
"""Of whom an authority is asked about again: it is stored with the task."""
_OF_THE_MOMENT: Final = "authentication.kubernetes.io/"
"""Begins what Kubernetes says of a token and not of its owner: its id, and the pod it is in."""


class CredentialUse:
    """Asks, and notes who is to be asked about again before each use."""

    def __init__(
        self, keeper: Gatekeeper, table: CredentialTable, secrets: PullSecrets | None = None
    ) -> None:
        """Without ``secrets`` no Secret can be named."""
        self._keeper = keeper
        self._table = table
        self._secrets = secrets

    async def admit(self, caller: Caller, spec: TaskSpec) -> TaskSpec:
        """The task as it may be. Raises the Refusal where it may not, and StoreAway."""
        if not spec.has_credentials:
            return spec if spec.asked_by is None else replace(spec, asked_by=None)
        if spec.pull_secrets and self._secrets is None:
            text = credential_texts.PULL_SECRET_NO_KUBERNETES()
            raise bad_request([fault("/pullSecrets", text)])
        try:
            await self._demand(caller, spec)
            found = [*await self._unknown(spec), *await self._unusable(spec)]
        except AuthorityAwayError as away:
            raise unavailable(away.text) from away
        if found:
            raise bad_request(found)
        return replace(spec, asked_by=_asker(caller))

    async def _demand(self, caller: Caller, spec: TaskSpec) -> None:
        missing = await missing_right(spec, lambda right: self._keeper.may(caller, right))
        if missing is None:
            return
        if isinstance(missing, SecretRead):
            verb, resource = "get", f"Secret {missing.namespace}/{missing.name}"
        else:
            verb, resource = missing.verb, missing.resource
        text = texts.ACCESS_FORBIDDEN(user=caller.user, verb=verb, resource=resource)
        raise Refusal(HTTPStatus.FORBIDDEN, text)

    async def _unknown(self, spec: TaskSpec) -> list[Fault]:
        return [
            fault(f"/credentials/{place}", credential_texts.CREDENTIAL_UNKNOWN(name=name))
            for place, name in enumerate(spec.credentials)
            if await self._table.find(name) is None
        ]

    async def _unusable(self, spec: TaskSpec) -> list[Fault]:
        """Read each Secret, whose namespace may not have opened it to the coordinator."""
        found: list[Fault] = []
        if self._secrets is None:
            return found
        for place, name in enumerate(spec.pull_secrets):
            try:
                await self._secrets.read(name)
            except PullSecretError as why:
                found.append(fault(f"/pullSecrets/{place}", why.text))
        return found


def _asker(caller: Caller) -> Asker | None:
    if not caller.is_known:
        return None
    asker = Asker(
        user=caller.user,
        way=caller.way,
        groups=tuple(sorted(caller.groups)),
        extra={k: v for k, v in caller.extra if not k.startswith(_OF_THE_MOMENT)},
    )
    if len(msgspec.json.encode(asker)) > ASKER_BYTES:
        raise bad_request(
            [fault("/credentials", credential_texts.CREDENTIAL_TOO_MANY_GROUPS(user=caller.user))]
        )
    return asker
