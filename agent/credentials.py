"""The registry credentials of a node: a Docker ``config.json`` (``common/docker_config.py``)."""

from __future__ import annotations

import errno
import logging
import stat
from typing import TYPE_CHECKING, Final

from agent.runtime.protocol import Credentials, PullFailed
from common.docker_config import DockerConfig
from common.image_reference import ImageReference, InvalidReference
from common.messages import NOT_DECODABLE
from common.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path

FILE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes; a Secret has one MiB at most."""
_COMPLAINTS: Final = 3

_log = logging.getLogger(__name__)


class Keyring:
    """Finds credentials for images in a file that may change, appear and vanish at any time.

    Without a file there are none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._state: object = None
        self._config = DockerConfig()
        self._changes = -1
        """The first reading is no change."""

    @property
    def config(self) -> DockerConfig:
        """What the file says by now."""
        self._refresh()
        return self._config

    def lookup(self, reference: str) -> list[Credentials]:
        """List what may open the image's registry, in the order in which to try it.

        Raises PullFailed (UNAUTHORIZED) where the file has entries for the image, but none that
        can be used.
        """
        self._refresh()
        try:
            image = ImageReference.parse(reference)
        except InvalidReference:
            return []
        found = list(self._config.matching(image))
        usable = [login for login in found if not login.fault]
        if found and not usable:
            raise PullFailed(Reason.UNAUTHORIZED, f"{self._path}: {found[0].fault}")
        return [
            Credentials(
                image.registry,
                login.username,
                login.password,
                identity_token=login.identity_token,
                registry_token=login.registry_token,
            )
            for login in usable
        ]

    @property
    def changes(self) -> int:
        """How often the file was another one than before, as far as it was looked at."""
        self._refresh()
        return max(0, self._changes)

    def complaint(self, reference: str) -> str:
        """Say which entries for an image cannot be used and why; empty where all can.

        An entry is named by its key in the file, never by what is in it.
        """
        try:
            image = ImageReference.parse(reference)
        except InvalidReference:
            return ""
        faults = [login.fault for login in self._config.matching(image) if login.fault]
        return f"{self._path}: {'; '.join(faults[:_COMPLAINTS])}" if faults else ""

    def _refresh(self) -> None:
        """Read the file again if it is another one than last time; a Secret's is replaced."""
        if self._path is None:
            return
        try:
            found = self._path.stat()
            state: object = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError as error:
            state = error.strerror
        if state != self._state:
            self._state = state
            self._changes += 1
            self._config = _read(self._path)


def _read(path: Path) -> DockerConfig:
    """Read what can be read; the rest is said once in the log."""
    try:
        return DockerConfig.parse(_content(path))
    except OSError as error:
        _log.warning("no registry credentials: %s: %s", path, error.strerror)
        return DockerConfig()
    except NOT_DECODABLE as error:
        _log.error("no registry credentials: %s is no Docker config.json: %s", path, error)
        return DockerConfig()


def _content(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file")  # to open a pipe would wait for ever
    if found.st_size > FILE_LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than {FILE_LIMIT} bytes")
    return path.read_bytes()
