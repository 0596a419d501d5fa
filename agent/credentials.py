"""The registry credentials of a node: a Docker ``config.json``, matched as the kubelet does.

The rules are those of Kubernetes' ``pkg/credentialprovider/keyring.go``: an entry names a host,
maybe with globs (``*.example.com``), maybe with a port, maybe with the beginning of a path. All
entries that match are candidates, the more specific first.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from agent.runtime.protocol import Credentials, PullFailed
from common.image_reference import DOCKER_HUB, ImageReference, InvalidReference
from common.messages import NOT_DECODABLE
from common.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEY_OF_DOCKER_HUB = "index.docker.io"
"""How Docker itself names its Hub: ``https://index.docker.io/v1/``."""

_SCHEME = re.compile(r"^https?://")
_API_VERSION = re.compile(r"^/v[12](?=/)")
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>.*))?")

_log = logging.getLogger(__name__)


class _Entry(msgspec.Struct):
    """One value under ``auths``."""

    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Config(msgspec.Struct, rename="camel"):
    """A Docker ``config.json``; its entries are decoded one by one: a bad one spoils no other."""

    auths: dict[str, msgspec.Raw] | None = None
    creds_store: str | None = None
    cred_helpers: dict[str, str] | None = None


class _Unusable(Exception):  # noqa: N818  # what an entry is
    """An entry that no registry could be shown. The text says why, without what is in it."""


@dataclass(frozen=True, slots=True, repr=False)
class _Login:
    """What one entry holds, or why that is of no use."""

    username: str = ""
    password: str = ""
    fault: str = ""


class _Pattern(NamedTuple):
    """What an entry's name matches: labels of a host, a port, and how a path begins."""

    labels: tuple[str, ...]
    port: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a host with maybe a port and a path."""
        host, slash, path = text.partition("/")
        parts = _HOST.fullmatch(host)
        if parts is None:
            return cls((host,), "", slash + path)
        name = parts["ipv6"] or parts["name"] or ""
        return cls(tuple(name.split(".")), parts["port"] or "", slash + path)

    def matches(self, image: _Pattern) -> bool:
        """Whether an image, read as a pattern without globs, is meant by this one."""
        return (
            self.port == image.port
            and image.path.startswith(self.path)
            and len(self.labels) == len(image.labels)
            and all(map(fnmatchcase, image.labels, self.labels))
        )


_Logins = dict[str, list[_Login]]


class Keyring:
    """Finds credentials for images in a file that may change, appear and vanish at any time.

    Without a file there are none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._state: object = None
        self._logins: _Logins = {}

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
        found = list(self._matching(image))
        usable = [login for login in found if not login.fault]
        if found and not usable:
            raise PullFailed(Reason.UNAUTHORIZED, f"{self._path}: {found[0].fault}")
        return [Credentials(image.registry, login.username, login.password) for login in usable]

    def _matching(self, image: ImageReference) -> Iterator[_Login]:
        target = _Pattern.parse(f"{image.registry}/{image.repository}")
        keys = [key for key in self._logins if _Pattern.parse(key).matches(target)]
        if not keys and image.registry == DOCKER_HUB and _KEY_OF_DOCKER_HUB in self._logins:
            keys = [_KEY_OF_DOCKER_HUB]
        for key in sorted(keys, reverse=True):
            yield from self._logins[key]

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
            self._logins = _read(self._path)


def _read(path: Path) -> _Logins:
    """Read what can be read; the rest is said once in the log."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=_Config)
    except OSError as error:
        _log.warning("no registry credentials: %s: %s", path, error.strerror)
        return {}
    except NOT_DECODABLE as error:
        _log.error("no registry credentials: %s is no Docker config.json: %s", path, error)
        return {}
    if config.creds_store or config.cred_helpers:
        _log.warning("%s: credential helpers (credsStore, credHelpers) are not supported", path)
    logins: _Logins = {}
    for name, entry in (config.auths or {}).items():
        login = _login(name, entry)
        if login is not None:
            logins.setdefault(_key(name), []).append(login)
    return logins


def _key(name: str) -> str:
    """Bring an entry's name to the form ``host[:port][/path]``."""
    host, slash, path = _SCHEME.sub("", name).partition("/")
    path = _API_VERSION.sub("", slash + path)
    return host if path == "/" else host + path


def _login(name: str, raw: msgspec.Raw) -> _Login | None:
    """Read one entry; None for an empty one, which Docker leaves where a helper has the rest."""
    try:
        return _username_and_password(msgspec.json.decode(raw, type=_Entry))
    except NOT_DECODABLE:
        return _Login(fault=f"the entry {name!r} is not of the form that Docker writes")
    except _Unusable as error:
        return _Login(fault=f"the entry {name!r} {error}")


def _username_and_password(entry: _Entry) -> _Login | None:
    if entry.identitytoken or entry.registrytoken:
        raise _Unusable("holds a token, which is not supported; give a user name and a password")
    if entry.auth:
        return _decoded(entry.auth)
    if not entry.username and not entry.password:
        return None
    return _Login(entry.username, entry.password)


def _decoded(auth: str) -> _Login:
    """Read base64 of ``username:password``, with or without padding."""
    try:
        padded = auth + "=" * (-len(auth) % 4)
        username, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _Unusable("has an auth that is not base64") from None
    if not colon:
        raise _Unusable("has an auth that is not username:password")
    return _Login(username, password)
