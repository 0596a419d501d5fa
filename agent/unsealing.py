"""Opens what the leader has sealed for this instance of the agent; its key is in memory alone."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from nacl.public import PrivateKey

from agent.instructions import Grant
from agent.runtime.protocol import Credentials, PullFailed
from common.image_reference import ImageReference
from common.reasons import Reason
from common.sealed_logins import open_logins, work_of

KEY_BYTES: Final = PrivateKey.SIZE


class Unsealer:
    """One key, and what can be opened with it."""

    def __init__(self, seed: bytes) -> None:
        """``seed``: 32 random bytes, which are the private key."""
        self._key = PrivateKey(seed)

    @property
    def public_key(self) -> str:
        """For whoever seals, in base64."""
        return base64.b64encode(bytes(self._key.public_key)).decode()

    def open(self, grant: Grant, reference: str) -> Sequence[Credentials]:
        """What an image's registry is shown, in the order in which to try it.

        Raises PullFailed (UNAUTHORIZED) where it was not sealed for this work.
        """
        try:
            found = open_logins(grant.sealed, self._key)
        except ValueError as why:
            raise PullFailed(Reason.UNAUTHORIZED, f"the task's credentials: {why}") from None
        if (found.task, found.attempt, found.work) != (
            grant.task,
            grant.attempt,
            work_of(grant.references),
        ):
            raise PullFailed(
                Reason.UNAUTHORIZED, "the task's credentials: they were sealed for other work"
            )
        registry, place = (
            ImageReference.parse(reference).registry,
            grant.references.index(reference),
        )
        return [
            Credentials(
                registry,
                login.username,
                login.password,
                identity_token=login.identity_token,
                registry_token=login.registry_token,
            )
            for login in found.logins
            if login.registry == registry and (not login.places or place in login.places)
        ]
