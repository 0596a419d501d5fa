"""Docker's credential helpers: programs ``docker-credential-<name>`` that a config.json names.

They are asked as Docker asks them (https://github.com/docker/docker-credential-helpers): ``get``,
the registry on standard input. Their answers say nothing of how long they are good: each pull asks.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

import msgspec

from agent.credential_programs import CredentialProgramError, EndedBadlyError, answer_of
from agent.runtime.protocol import Credentials
from common.docker_config import DockerConfig
from common.image_reference import DOCKER_HUB, ImageReference
from common.messages import NOT_DECODABLE

HUB: Final = "https://index.docker.io/v1/"
"""By which name Docker asks for its Hub."""
TOKEN: Final = "<token>"  # noqa: S105 - the user name that stands for no user
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NOT_THERE: Final = re.compile(rb"credentials not found|no credentials", re.IGNORECASE)


class _Answer(msgspec.Struct):
    """What ``get`` prints; members of other cases are not read, as no helper writes them."""

    username: str = msgspec.field(name="Username", default="")
    secret: str = msgspec.field(name="Secret", default="")


_read = msgspec.json.Decoder(_Answer).decode


class CredentialHelpers:
    """Asks the helper that a config names for an image's registry."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: where helpers are looked for before ``PATH``."""
        self._folder = folder

    async def lookup(self, config: DockerConfig, image: ImageReference) -> list[Credentials]:
        """What the helper knows; nothing without one.

        Raises CredentialProgramError, which names it.
        """
        name = config.helper_for(image)
        if not name:
            return []
        program = f"docker-credential-{name}"
        try:
            return await self._asked(program, name, image)
        except CredentialProgramError as why:
            raise CredentialProgramError(f"{program}: {why}") from None

    async def _asked(self, program: str, name: str, image: ImageReference) -> list[Credentials]:
        path = self._find(program) if _NAME.fullmatch(name) else None
        if path is None:
            raise CredentialProgramError("there is no such program")
        server = HUB if image.registry == DOCKER_HUB else image.registry
        try:
            answer = _read(await answer_of(path, ["get"], server.encode(), {}))
        except EndedBadlyError as why:
            if _NOT_THERE.search(why.output):
                return []
            raise
        except NOT_DECODABLE:
            raise CredentialProgramError(
                "its answer is not of the form that Docker reads"
            ) from None
        if answer.username == TOKEN:
            return [Credentials(image.registry, identity_token=answer.secret)]
        if not answer.username and not answer.secret:
            return []
        return [Credentials(image.registry, answer.username, answer.secret)]

    def _find(self, program: str) -> Path | None:
        folders = [str(self._folder)] if self._folder is not None else []
        path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
        found = shutil.which(program, path=path)
        return None if found is None else Path(found)
