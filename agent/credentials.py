"""The registry credentials of a node: a Docker ``config.json``, matched as the kubelet does.

The rules are those of Kubernetes' ``pkg/credentialprovider/keyring.go``: an entry names a host,
maybe with globs (``*.example.com``), maybe with a port, maybe with the beginning of a path. All
entries that match are candidates, the more specific first. Unlike the kubelet's reading of a file,
tokens are read too.
"""

from __future__ import annotations

import base64
import binascii
import errno
import logging
import re
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from agent.runtime.protocol import Credentials, PullFailed
from common.image_reference import DOCKER_HUB, ImageReference, InvalidReference
from common.messages import NOT_DECODABLE
from common.reasons import Reason
from common.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEY_OF_DOCKER_HUB = "index.docker.io"
"""How Docker itself names its Hub: ``https://index.docker.io/v1/``."""

_SCHEME = re.compile(r"^https?://(?:[^/@]*@)?")
_API_VERSION = re.compile(r"^/v[12](?=/)")
_USERINFO = re.compile(r"(?<=://)[^/]*@|^[^/:]*:[^/]*@")
_REGISTRY = re.compile(r"[.:/]|^localhost$")
_NOTHING = (b"", b"null", b'""', b"{}")
_NAME_LIMIT = 100
FILE_LIMIT = 8 * 1024 * 1024
"""Bytes; a Secret has one MiB at most."""
_COMPLAINTS = 3
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>.*))?")

_log = logging.getLogger(__name__)


class _Entry(msgspec.Struct):
    """One value under ``auths``."""

    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _Unusable(Exception):  # noqa: N818  # what an entry is
    """An entry that no registry could be shown. The text says why, without what is in it."""


@dataclass(frozen=True, slots=True, repr=False)
class _Login:
    """One thing that an entry holds, or why that is of no use."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
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
        self._changes = -1
        """The first reading is no change."""

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
        faults = [login.fault for login in self._matching(image) if login.fault]
        return f"{self._path}: {'; '.join(faults[:_COMPLAINTS])}" if faults else ""

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
            self._changes += 1
            self._logins = _read(self._path)


def _read(path: Path) -> _Logins:
    """Read what can be read; the rest is said once in the log."""
    try:
        entries = _entries(path)
    except OSError as error:
        _log.warning("no registry credentials: %s: %s", path, error.strerror)
        return {}
    except NOT_DECODABLE as error:
        _log.error("no registry credentials: %s is no Docker config.json: %s", path, error)
        return {}
    logins: _Logins = {}
    for name, entry in entries.items():
        if found := _logins(name, entry):
            logins.setdefault(_key(name), []).extend(found)
    return logins


def _entries(path: Path) -> dict[str, msgspec.Raw]:
    """Take the entries out of a file, not decoded yet: a bad one spoils no other.

    As Go reads it, which does not mind the case of a member's name. Without ``auths`` it is the
    older ``.dockercfg``, which holds nothing but entries; a registry's name there is told from a
    setting of Docker's by its dot, colon or slash. Raises OSError, NOT_DECODABLE.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file")  # to open a pipe would wait for ever
    if found.st_size > FILE_LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than {FILE_LIMIT} bytes")
    members = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    settings = {name.lower(): value for name, value in members.items()}
    for name in ("credsstore", "credhelpers"):
        if bytes(settings.get(name, b"")).strip() not in _NOTHING:
            _log.warning("%s: credential helpers (credsStore, credHelpers) are not supported", path)
            break
    if "auths" in settings:
        auths = msgspec.json.decode(settings["auths"], type=dict[str, msgspec.Raw] | None)
        return auths or {}
    return {name: entry for name, entry in members.items() if _REGISTRY.search(name)}


def _key(name: str) -> str:
    """Bring an entry's name to the form ``host[:port][/path]``."""
    host, slash, path = _SCHEME.sub("", name).partition("/")
    path = _API_VERSION.sub("", slash + path)
    return host if path == "/" else host + path


def _logins(name: str, raw: msgspec.Raw) -> list[_Login]:
    """Read one entry; nothing of an empty one: Docker leaves it where a helper has the rest."""
    try:
        entry = msgspec.convert(_folded(raw), _Entry)
    except NOT_DECODABLE:
        return [_Login(fault=f"the entry {_shown(name)} is not of the form that Docker writes")]
    logins: list[_Login] = []
    try:
        logins += _username_and_password(entry)
    except _Unusable as error:
        logins.append(_Login(fault=f"the entry {_shown(name)} {error}"))
    if entry.identitytoken:
        logins.append(_Login(identity_token=entry.identitytoken))
    if entry.registrytoken:
        logins.append(_Login(registry_token=entry.registrytoken))
    return logins


def _folded(raw: msgspec.Raw) -> object:
    """Decode a value; an object's members as Go reads them: in any case, null for nothing."""
    value = msgspec.json.decode(raw)
    if not isinstance(value, dict):
        return value
    return {name.lower(): member for name, member in value.items() if member is not None}


def _shown(name: str) -> str:
    """Quote an entry's name, without what somebody may have put before its host."""
    return repr(_USERINFO.sub(f"{HIDDEN}@", name)[:_NAME_LIMIT])


def _username_and_password(entry: _Entry) -> list[_Login]:
    login = _decoded(entry.auth) if entry.auth else _Login(entry.username, entry.password)
    # Beside a token Docker leaves a user name that stands for nobody.
    is_token_s = not login.password and bool(entry.identitytoken or entry.registrytoken)
    return [login] if (login.username or login.password) and not is_token_s else []


def _decoded(auth: str) -> _Login:
    """Read base64 of ``username:password``, with or without padding and line breaks."""
    try:
        joined = auth.replace("\r", "").replace("\n", "")
        padded = joined + "=" * (-len(joined) % 4)
        username, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):  # no ASCII, no base64, no UTF-8
        raise _Unusable("has an auth that is not base64") from None
    if not colon:
        raise _Unusable("has an auth that is not username:password")
    return _Login(username, password)
