"""What a Docker ``config.json`` says of registries, matched as the kubelet does.

The rules are those of Kubernetes' ``pkg/credentialprovider/keyring.go``: an entry names a host,
maybe with globs (``*.example.com``), maybe with a port, maybe with the beginning of a path. All
entries that match are candidates, the more specific first. Unlike the kubelet's reading of a file,
tokens are read too.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import msgspec

from common.host_globs import LabelGlob
from common.image_reference import DOCKER_HUB, ImageReference
from common.messages import NOT_DECODABLE
from common.redaction import HIDDEN

KEY_OF_DOCKER_HUB: Final = "index.docker.io"
"""How Docker itself names its Hub: ``https://index.docker.io/v1/``."""

_SCHEME: Final = re.compile(r"^https?://(?:[^/@]*@)?")
_API_VERSION: Final = re.compile(r"^/v[12](?=/)")
_USERINFO: Final = re.compile(r"(?<=://)[^/]*@|^[^/:]*:[^/]*@")
_REGISTRY: Final = re.compile(r"[.:/]|^localhost$")
_NAME_LIMIT: Final = 100
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>.*))?")


class _Entry(msgspec.Struct):
    """One value under ``auths``."""

    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class TooManyEntriesError(Exception):
    """There are more entries than whoever reads them takes, or one has too long a name."""


class _Unusable(Exception):  # noqa: N818  # what an entry is
    """An entry that no registry could be shown. The text says why, without what is in it."""


@dataclass(frozen=True, slots=True, repr=False)
class ConfiguredLogin:
    """One thing that an entry holds, or why that is of no use. No text of it shows a secret."""

    key: str
    """What the entry is for: ``host[:port][/path]``, the host maybe with globs."""
    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    fault: str = ""
    """Names the entry by its key, never by what is in it."""


class ImagePattern(NamedTuple):
    """Which images are meant: labels of a host, a port, and how a path begins."""

    labels: tuple[LabelGlob, ...]
    port: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a host with maybe a port and a path."""
        host, slash, path = text.partition("/")
        parts = _HOST.fullmatch(host)
        if parts is None:
            return cls((LabelGlob(host),), "", slash + path)
        name = parts["ipv6"] or parts["name"] or ""
        return cls(tuple(map(LabelGlob, name.split("."))), parts["port"] or "", slash + path)

    @classmethod
    def of(cls, image: ImageReference) -> Self:
        """The pattern that an image is, without globs."""
        return cls.parse(f"{image.registry}/{image.repository}")

    def matches(self, image: ImagePattern) -> bool:
        """Whether an image, read as a pattern without globs, is meant by this one."""
        return (
            self.port == image.port
            and image.path.startswith(self.path)
            and len(self.labels) == len(image.labels)
            and all(
                glob.matches(label.text)
                for glob, label in zip(self.labels, image.labels, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """What was found of registries. An empty one knows none."""

    logins: Mapping[str, Sequence[ConfiguredLogin]] = field(default_factory=dict)
    """By host, with maybe a port and the beginning of a path."""
    store: str = ""
    """The helper that is asked about every other registry (``credsStore``)."""
    helpers: Mapping[str, str] = field(default_factory=dict)
    """The helper of a registry (``credHelpers``)."""
    _patterns: Sequence[tuple[str, ImagePattern]] = field(init=False, repr=False, compare=False)
    """The keys of ``logins``, in the order in which to try them."""

    def __post_init__(self) -> None:
        """Read the patterns once, however many images are asked about."""
        patterns = [(key, ImagePattern.parse(key)) for key in sorted(self.logins, reverse=True)]
        object.__setattr__(self, "_patterns", patterns)

    @classmethod
    def parse(
        cls, raw: bytes, *, most_entries: int | None = None, longest_name: int | None = None
    ) -> Self:
        """Read a file; of one bad entry its fault, and the others all the same.

        As Go reads it, which does not mind the case of a member's name. Without ``auths`` it is the
        older ``.dockercfg``, which holds nothing but entries; a registry's name there is told from
        a setting of Docker's by its dot, colon or slash. Raises NOT_DECODABLE, and where there are
        ``most_entries`` or a ``longest_name`` (characters) TooManyEntriesError.
        """
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        settings = {name.lower(): value for name, value in members.items()}
        if "auths" in settings:
            entries = msgspec.json.decode(settings["auths"], type=dict[str, msgspec.Raw] | None)
        else:
            entries = {name: entry for name, entry in members.items() if _REGISTRY.search(name)}
        _check_size(entries or {}, most_entries, longest_name)
        logins: dict[str, list[ConfiguredLogin]] = {}
        for name, entry in (entries or {}).items():
            key = registry_key(name)
            if found := _logins(name, key, entry):
                logins.setdefault(key, []).extend(found)
        return cls(
            logins, _store(settings.get("credsstore")), _helpers(settings.get("credhelpers"))
        )

    def matching(self, image: ImageReference) -> Iterator[ConfiguredLogin]:
        """What is meant for an image, in the order in which to try it, the unusable included."""
        target = ImagePattern.of(image)
        keys = [key for key, pattern in self._patterns if pattern.matches(target)]
        if not keys and image.registry == DOCKER_HUB and KEY_OF_DOCKER_HUB in self.logins:
            keys = [KEY_OF_DOCKER_HUB]
        for key in keys:
            yield from self.logins[key]

    def helper_for(self, image: ImageReference) -> str:
        """The name of the helper that is to be asked about an image; empty for none."""
        names = [image.registry]
        if image.registry == DOCKER_HUB:
            names += [KEY_OF_DOCKER_HUB, f"{KEY_OF_DOCKER_HUB}/v1/", f"{KEY_OF_DOCKER_HUB}/v1"]
        found = next((self.helpers[name] for name in names if name in self.helpers), None)
        return self.store if found is None else found


def registry_key(name: str) -> str:
    """Bring an entry's name to the form ``host[:port][/path]``."""
    host, slash, path = _SCHEME.sub("", name).partition("/")
    path = _API_VERSION.sub("", slash + path)
    return host if path == "/" else host + path


def _check_size(names: Mapping[str, object], most: int | None, longest: int | None) -> None:
    if most is not None and len(names) > most:
        raise TooManyEntriesError(f"there are more than {most} entries")
    if longest is not None and any(len(name) > longest for name in names):
        raise TooManyEntriesError(f"an entry's name has more than {longest} characters")


def _store(value: msgspec.Raw | None) -> str:
    """Who is no text names nobody: a bad setting spoils no entry."""
    try:
        return "" if value is None else msgspec.json.decode(value, type=str | None) or ""
    except NOT_DECODABLE:
        return ""


def _helpers(value: msgspec.Raw | None) -> Mapping[str, str]:
    try:
        found = {} if value is None else msgspec.json.decode(value, type=dict[str, str] | None)
    except NOT_DECODABLE:
        return {}
    return {registry_key(name): helper for name, helper in (found or {}).items()}


def _logins(name: str, key: str, raw: msgspec.Raw) -> list[ConfiguredLogin]:
    """Read one entry; nothing of an empty one: Docker leaves it where a helper has the rest."""
    try:
        entry = msgspec.convert(_folded(raw), _Entry)
    except NOT_DECODABLE:
        fault = f"the entry {_shown(name)} is not of the form that Docker writes"
        return [ConfiguredLogin(key, fault=fault)]
    logins: list[ConfiguredLogin] = []
    try:
        logins += _username_and_password(key, entry)
    except _Unusable as error:
        logins.append(ConfiguredLogin(key, fault=f"the entry {_shown(name)} {error}"))
    if entry.identitytoken:
        logins.append(ConfiguredLogin(key, identity_token=entry.identitytoken))
    if entry.registrytoken:
        logins.append(ConfiguredLogin(key, registry_token=entry.registrytoken))
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


def _username_and_password(key: str, entry: _Entry) -> list[ConfiguredLogin]:
    username, password = _decoded(entry.auth) if entry.auth else (entry.username, entry.password)
    # Beside a token Docker leaves a user name that stands for nobody.
    is_token_s = not password and bool(entry.identitytoken or entry.registrytoken)
    has_any = (username or password) and not is_token_s
    return [ConfiguredLogin(key, username, password)] if has_any else []


def _decoded(auth: str) -> tuple[str, str]:
    """Read base64 of ``username:password``, with or without padding and line breaks."""
    try:
        joined = auth.replace("\r", "").replace("\n", "")
        padded = joined + "=" * (-len(joined) % 4)
        username, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):  # no ASCII, no base64, no UTF-8
        raise _Unusable("has an auth that is not base64") from None
    if not colon:
        raise _Unusable("has an auth that is not username:password")
    return username, password
