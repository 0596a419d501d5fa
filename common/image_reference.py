"""Image references, as Docker and containerd read them.

The grammar and the short names are those of github.com/distribution/reference
(``ParseNormalizedNamed``, then ``TagNameOnly``). Two differences: a first part that looks like a
registry but is no host name (``my_host.example/x``) is refused here; distribution then takes the
whole for a repository of no registry at all. And a digest without a name, which an image's id as
``docker images`` shows it also looks like, is refused; distribution reads a repository ``sha256``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from common import texts
from common.redaction import redact
from common.text import Text

DOCKER_HUB: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
REPOSITORY_LIMIT: Final = 255
"""Characters of a repository's name, the registry not counted."""

_HUB_BEFORE: Final = "index.docker.io"
_HUB_OFFICIAL: Final = "library/"
_QUOTE_LIMIT: Final = 80

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_REPOSITORY_PART: Final = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE_ID: Final = re.compile(r"[a-f0-9]{64}")
_LOWER_HEX: Final = re.compile(r"[a-f0-9]*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DIGITS_OF: Final = {"sha256": 64, "sha384": 96, "sha512": 128}


class InvalidReference(ValueError):  # noqa: N818  # what it is, as users read it; "Error" adds nothing
    """A text is no image reference; ``text`` says why, in a user's words."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image, fully named. Made by ``parse``, so that the parts are always valid."""

    registry: str
    """Host and, where given, port: ``docker.io``, ``localhost:5000``, ``[::1]:5000``."""
    repository: str
    """The path in the registry: ``library/nginx``."""
    tag: str | None = None
    """Absent only where a digest is given without one."""
    digest: str | None = None
    """``algorithm:hex``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as a user writes it; ``InvalidReference`` is all that it raises."""
        _refuse_what_is_no_reference(text)
        registry, rest = _split_registry(text)
        name, at, digest = rest.partition("@")
        repository, colon, tag = name.partition(":")
        _check_registry(registry)
        _check_repository(repository)
        if colon:
            _check_tag(tag)
        elif not at:
            tag = DEFAULT_TAG
        if at:
            _check_digest(digest)
        return cls(registry, repository, tag or None, digest or None)

    @property
    def canonical(self) -> str:
        """The full form, equal for all spellings of one image: ``docker.io/library/nginx:latest``.

        Tag and digest both stay where both were given.
        """
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def runtime_form(self) -> str:
        """What a container runtime is asked for: the canonical form, no tag beside a digest.

        The digest alone decides what is pulled. containerd drops such a tag itself
        (``ParseDockerRef``); containers/image, and with it CRI-O, has refused the pair.
        """
        if self.digest is None:
            return self.canonical
        return f"{self.registry}/{self.repository}@{self.digest}"

    @property
    def familiar(self) -> str:
        """The form that Docker shows: no ``docker.io``, and no ``library`` where one part is left.

        ``FamiliarString`` of the Go package, with one difference: where the first part of the path
        would then be read as a registry (``docker.io/a.b/c``), the full form stays, so that the
        familiar form always names the same image.
        """
        if self.registry != DOCKER_HUB:
            return self.canonical
        path = self.repository
        official = path.removeprefix(_HUB_OFFICIAL)
        if "/" not in official:
            path = official
        elif _looks_like_registry(path.partition("/")[0]):
            return self.canonical
        return path + self.canonical.removeprefix(f"{self.registry}/{self.repository}")

    def __str__(self) -> str:
        return self.canonical


def familiar(text: str) -> str:
    """The familiar form of a reference in any spelling; a text that is no reference as it is."""
    try:
        return ImageReference.parse(text).familiar
    except InvalidReference:
        return text


def _refuse_what_is_no_reference(text: str) -> None:
    if not text:
        raise InvalidReference(texts.IMAGE_EMPTY())
    if any(character.isspace() for character in text):
        raise InvalidReference(texts.IMAGE_WHITE_SPACE(text=_short(text)))
    if _SCHEME.match(text):
        raise InvalidReference(texts.IMAGE_SCHEME(text=_short(text)))
    if _IMAGE_ID.fullmatch(text):
        raise InvalidReference(texts.IMAGE_ID(text=_short(text)))
    if _is_digest_alone(text):
        raise InvalidReference(texts.IMAGE_DIGEST_ALONE(text=_short(text)))


def _is_digest_alone(text: str) -> bool:
    algorithm, _, encoded = text.partition(":")
    return len(encoded) == _DIGITS_OF.get(algorithm) and _LOWER_HEX.fullmatch(encoded) is not None


def _split_registry(text: str) -> tuple[str, str]:
    """Registry and rest, short names completed; ``splitDockerDomain`` of the Go package."""
    first, slash, rest = text.partition("/")
    if not slash or not _looks_like_registry(first):
        registry, rest = DOCKER_HUB, text
    else:
        registry = DOCKER_HUB if first == _HUB_BEFORE else first
    if registry == DOCKER_HUB and "/" not in rest:
        rest = _HUB_OFFICIAL + rest
    return registry, rest


def _looks_like_registry(first: str) -> bool:
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def _check_registry(registry: str) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise InvalidReference(texts.IMAGE_REGISTRY(text=_short(registry)))


def _check_repository(repository: str) -> None:
    if repository in {"", _HUB_OFFICIAL}:
        raise InvalidReference(texts.IMAGE_NO_NAME())
    if repository != repository.lower():
        raise InvalidReference(texts.IMAGE_UPPER_CASE(text=_short(repository)))
    for part in repository.split("/"):
        if not part:
            raise InvalidReference(texts.IMAGE_EMPTY_PART(text=_short(repository)))
        if not _REPOSITORY_PART.fullmatch(part):
            raise InvalidReference(texts.IMAGE_NAME_PART(text=_short(part)))
    if (length := len(repository)) > REPOSITORY_LIMIT:
        raise InvalidReference(
            texts.IMAGE_LONG_NAME(text=_short(repository), length=length, most=REPOSITORY_LIMIT)
        )


def _check_tag(tag: str) -> None:
    if not _TAG.fullmatch(tag):
        raise InvalidReference(texts.IMAGE_TAG(text=_short(tag)))


def _check_digest(digest: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    digits = _DIGITS_OF.get(algorithm)
    if digits is None:
        choices = ", ".join(f"{name}:" for name in _DIGITS_OF)
        raise InvalidReference(texts.IMAGE_DIGEST_KIND(text=_short(digest), choices=choices))
    if not _LOWER_HEX.fullmatch(encoded):
        raise InvalidReference(texts.IMAGE_DIGEST_DIGITS(text=_short(digest)))
    if (length := len(encoded)) != digits:
        raise InvalidReference(
            texts.IMAGE_DIGEST_LENGTH(
                text=_short(digest), length=length, algorithm=algorithm, most=digits
            )
        )


def _short(text: str) -> str:
    """What of a user's text a message repeats: never long, and redacted before it is cut."""
    shown = redact(text)
    return shown if len(shown) <= _QUOTE_LIMIT else shown[: _QUOTE_LIMIT - 1] + "…"
