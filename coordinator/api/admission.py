"""Whether a caller may warm what they ask for, by the policy, and what that adds to the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from msgspec.structs import replace

from common import texts
from common.text import Text
from coordinator.access.callers import Caller
from coordinator.access.policy import Allowed, Policy, Refused, decide
from coordinator.access.receivers import Receivers
from coordinator.api.credential_use import CredentialUse
from coordinator.api.faults import fault
from coordinator.api.problems import Refusal, bad_request
from coordinator.core.selection import LabelQuery, satisfies
from coordinator.core.task import Creator, TaskSpec
from coordinator.port import Engine

CurrentPolicy = Callable[[], Policy]


class Admission:
    """Applies the policy, where there is one."""

    def __init__(
        self,
        engine: Engine,
        policy: CurrentPolicy | None,
        receivers: Receivers | None = None,
        use: CredentialUse | None = None,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._receivers = receivers
        self._use = use

    async def with_credentials(self, caller: Caller, spec: TaskSpec) -> TaskSpec:
        """The task with who is asked about again before its credentials are used.

        Raises the Refusal where they may not be, and StoreAway.
        """
        return spec if self._use is None else await self._use.admit(caller, spec)

    def admit(self, caller: Caller, spec: TaskSpec, names: Sequence[str] | None) -> TaskSpec:
        """The task as it may be. Raises the Refusal where it may not."""
        self._check_webhook(spec.webhook_url)
        if self._policy is None:
            return spec
        decision = decide(self._policy(), caller, spec.work, spec.priority)
        if isinstance(decision, Refused):
            raise _forbidden(decision.text)
        image = spec.work[0].name
        new = [each for each in decision.requirements if each not in spec.match_expressions]
        narrowed = replace(
            spec,
            match_expressions=(*spec.match_expressions, *new),
            max_nodes=decision.max_nodes,
        )
        self._check_names(decision, names, image)
        count = self._count(narrowed, names)
        if decision.max_nodes is not None and count > decision.max_nodes:
            text = texts.POLICY_NODES(
                rule=decision.rule, most=decision.max_nodes, count=count, image=image
            )
            raise _forbidden(text)
        return narrowed

    def _check_webhook(self, address: str | None) -> None:
        """An address is refused at once; a name is resolved when it is told."""
        if address is None or self._receivers is None:
            return
        kind = self._receivers.refusal_of_host(urlsplit(address).hostname or "")
        if kind is not None:
            raise bad_request([fault("/webhookUrl", texts.VALUE_WEBHOOK_REFUSED(kind=kind))])

    def _check_names(self, allowed: Allowed, names: Sequence[str] | None, image: str) -> None:
        """Each named node must be one that the rule is about: an unknown one might be any."""
        if not allowed.requirements:
            return
        for name in names or ():
            node = self._engine.nodes.get(name)
            if node is None or not all(satisfies(r, node.labels) for r in allowed.requirements):
                raise _forbidden(texts.POLICY_NODE(rule=allowed.rule, node=name, image=image))

    def _count(self, spec: TaskSpec, names: Sequence[str] | None) -> int:
        """How many nodes a task is for by now; at its start it is looked at again."""
        if names is not None:
            return len(names)
        if spec.max_nodes is None:
            return 0
        query = LabelQuery(spec)
        return sum(query.matches(labels) for _, labels in self._engine.nodes.labels())


def creator_of(caller: Caller) -> Creator | None:
    """Whose what a caller makes is; None where nobody was asked who they are."""
    return Creator(user=caller.user, way=caller.way) if caller.is_known else None


def _forbidden(text: Text) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, text)
