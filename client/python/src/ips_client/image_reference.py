"""Image references as Docker reads them: enough to say what is wrong with one before it is sent.

The grammar is that of github.com/distribution/reference (``ParseNormalizedNamed``). The service has
the last word; this only has to be right about what it refuses.
"""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_PART: Final = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
_IMAGE_ID: Final = re.compile(r"(?:sha256:)?[a-f0-9]{64}")
_PLACEHOLDER: Final = re.compile(
    r"\{\{.*?\}\}|\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_]\w*|<[^<>]*>|%[A-Za-z_]+%|@[A-Z_]+@"
)
_HUB: Final = "docker.io"
_REPOSITORY_LIMIT: Final = 255
_QUOTE_LIMIT: Final = 80


def canonical(text: str) -> str:
    """The full name, equal for all spellings of one image. A ValueError says what is wrong."""
    if found := _PLACEHOLDER.search(text):
        raise ValueError(
            f"{quoted(text)} holds a template placeholder, {quoted(found[0])}, that nothing has "
            "filled in; render the manifest first (helm template, kubectl kustomize, envsubst)"
        )
    if not text:
        raise ValueError("an image reference is empty")
    if any(map(str.isspace, text)):
        raise ValueError(f"{quoted(text)} contains whitespace")
    if "://" in text:
        raise ValueError(f"{quoted(text)} begins with a scheme; write registry/repository:tag")
    if _IMAGE_ID.fullmatch(text):
        raise ValueError(f"{quoted(text)} is an image id, which no registry knows")
    if _DIGEST.fullmatch(text):
        raise ValueError(f"{quoted(text)} is an image id or a digest without a name")
    registry, rest = _split_registry(text)
    name, at, digest = rest.partition("@")
    repository, colon, tag = name.partition(":")
    _check(text, registry, repository)
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(f"{quoted(text)} has an invalid tag {quoted(tag)}")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError(f"{quoted(text)} has an invalid digest {quoted(digest)}")
    suffix = f":{tag}" if colon else "" if at else ":latest"
    return f"{registry}/{repository}{suffix}{at}{digest}"


def quoted(text: str) -> str:
    """A user's text in a message: no control characters, never long."""
    return repr(text if len(text) <= _QUOTE_LIMIT else text[: _QUOTE_LIMIT - 1] + "…")


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    named = first == "localhost" or not {".", ":"}.isdisjoint(first) or first != first.lower()
    registry, rest = (first, rest) if slash and named else (_HUB, text)
    if registry == f"index.{_HUB}":
        registry = _HUB
    if registry == _HUB and "/" not in rest:
        rest = f"library/{rest}"
    return registry, rest


def _check(text: str, registry: str, repository: str) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise ValueError(f"{quoted(text)} has an invalid registry host {quoted(registry)}")
    if repository in {"", "library/"}:
        raise ValueError(f"{quoted(text)} has no repository name")
    if repository != repository.lower():
        raise ValueError(f"{quoted(text)} has capital letters in its repository name")
    if not all(map(_PART.fullmatch, repository.split("/"))):
        raise ValueError(f"{quoted(text)} has an invalid repository name {quoted(repository)}")
    if len(repository) > _REPOSITORY_LIMIT:
        raise ValueError(f"{quoted(text)} is longer than {_REPOSITORY_LIMIT} characters")
