"""All that a node has for registries: its config.json, Docker's helpers, the kubelet's providers.

What one of them does wrong is told with the failure of the pull, and no reason to do without the
others, nor without any: the image may be open to everybody.
"""

from __future__ import annotations

import asyncio

from agent.credential_helpers import CredentialHelpers
from agent.credential_programs import CredentialProgramError
from agent.credential_providers import CredentialProviders, ProviderAnswers
from agent.credentials import Keyring
from agent.puller import NodeLogins
from agent.runtime.protocol import Credentials, PullFailed
from common.image_reference import ImageReference, InvalidReference


class NodeCredentials:
    """Asks them in this order."""

    def __init__(
        self,
        keyring: Keyring,
        helpers: CredentialHelpers | None = None,
        providers: CredentialProviders | None = None,
    ) -> None:
        self._keyring = keyring
        self._helpers = helpers
        self._providers = providers

    @property
    def changes(self) -> int:
        """How often the config.json was another one than before."""
        return self._keyring.changes

    async def lookup(self, reference: str) -> NodeLogins:
        """What may open an image's registry, the likeliest first.

        Raises PullFailed where the config.json has entries for it of which none can be used, and
        nothing else was found.
        """
        unusable: PullFailed | None = None
        found: list[Credentials] = []
        try:
            found += self._keyring.lookup(reference)
        except PullFailed as failure:
            unusable = failure
        complaint = self._keyring.complaint(reference)
        faults = [complaint] if complaint else []
        try:
            image = ImageReference.parse(reference)
        except InvalidReference:
            return NodeLogins()
        (helped, fault), provided = await asyncio.gather(self._help(image), self._provide(image))
        found += [*helped, *provided.credentials]
        if unusable is not None and not found:
            raise unusable
        return NodeLogins(found, "; ".join([*faults, *fault, *provided.faults]))

    async def _help(self, image: ImageReference) -> tuple[list[Credentials], list[str]]:
        if self._helpers is None:
            return [], []
        try:
            return await self._helpers.lookup(self._keyring.config, image), []
        except CredentialProgramError as why:
            return [], [str(why)]

    async def _provide(self, image: ImageReference) -> ProviderAnswers:
        if self._providers is None:
            return ProviderAnswers([], [])
        return await self._providers.lookup(image)
