"""The kubelet's file about credential providers (``CredentialProviderConfig``), read as it does.

https://kubernetes.io/docs/reference/config-api/kubelet-config.v1/#CredentialProviderConfig; of a
folder its ``*.json``, ``*.yaml`` and ``*.yml`` in their order. Other than to the kubelet, one bad
provider is no reason to do without the others.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from common.docker_config import ImagePattern
from common.image_reference import ImageReference
from common.messages import NOT_DECODABLE

if TYPE_CHECKING:
    from pathlib import Path

API_VERSION: Final = "credentialprovider.kubelet.k8s.io/v1"
MOST_PROVIDERS: Final = 100
FILE_LIMIT: Final = 1024 * 1024
_KIND: Final = "CredentialProviderConfig"
_ENDINGS: Final = (".json", ".yaml", ".yml")
_NOT_IN_NAME: Final = re.compile(r"[/ \0]")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,15})?)(ns|us|µs|ms|s|m|h)")
_SHOWN: Final = 100


class ConfigError(Exception):
    """The file cannot be used; the text says why."""


class _Variable(msgspec.Struct):
    name: str
    value: str


class _TokenAttributes(msgspec.Struct, rename="camel"):
    require_service_account: bool = True


class _Provider(msgspec.Struct, rename="camel"):
    name: str
    match_images: list[str]
    default_cache_duration: str
    api_version: str
    args: list[str] | None = None
    env: list[_Variable] | None = None
    token_attributes: _TokenAttributes | None = None


@dataclass(frozen=True, slots=True)
class ProviderRule:
    """One provider, and which images it is asked about."""

    name: str
    patterns: tuple[ImagePattern, ...]
    cache_seconds: float = 0.0
    """Where its answer does not say."""
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    """Why it cannot be asked."""

    def matches(self, image: ImageReference) -> bool:
        """Whether an image is one of its."""
        target = ImagePattern.of(image)
        return any(pattern.matches(target) for pattern in self.patterns)


def seconds_of_go(text: str) -> float:
    """A duration as Go writes it: ``12h``, ``1h30m``, ``0``. Raises ValueError."""
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("is no duration such as 12h or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def state_of(path: Path) -> object:
    """Equal as long as nothing has changed."""
    try:
        return tuple(
            (str(f), (s := f.stat()).st_ino, s.st_mtime_ns, s.st_size) for f in _files(path)
        )
    except OSError as error:
        return error.strerror


def read_rules(path: Path) -> Sequence[ProviderRule]:
    """The providers of a file or folder. Raises ConfigError, also for one that is not there."""
    try:
        found = [rule for file in _files(path) for rule in _read(file)]
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None
    if len(found) > MOST_PROVIDERS:
        raise ConfigError(f"it names more than {MOST_PROVIDERS} providers")
    return found


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix in _ENDINGS)
    return [path]


def _read(path: Path) -> Iterator[ProviderRule]:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_LIMIT:
        raise ConfigError(f"{path} is no file, or larger than {FILE_LIMIT} bytes")
    try:
        # JSON, too, is YAML. Only here: most agents have no such file.
        content = msgspec.yaml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError:
        raise
    except ImportError as error:
        raise ConfigError(f"{path} needs the package PyYAML") from error
    # PyYAML lets through whatever the type that a tag names raises: a ValueError for a date that
    # is none, an AttributeError for a text that is no timestamp.
    except Exception:  # noqa: BLE001
        raise ConfigError(f"{path} is neither YAML nor JSON") from None
    if content.get("kind") != _KIND or not isinstance(content.get("providers"), list):
        raise ConfigError(f"{path} is no {_KIND}")
    for entry in content["providers"]:
        yield _rule(entry)


def _rule(entry: Any) -> ProviderRule:
    """One provider; of a bad one its fault, and what is known of it."""
    try:
        provider = msgspec.convert(entry, _Provider)
        return ProviderRule(
            name=_checked_name(provider.name),
            patterns=_patterns(provider.match_images),
            cache_seconds=seconds_of_go(provider.default_cache_duration),
            arguments=tuple(provider.args or ()),
            environment=tuple((each.name, each.value) for each in provider.env or ()),
            fault=_unfit(provider),
        )
    except (*NOT_DECODABLE, ValueError) as why:
        known = entry if isinstance(entry, dict) else {}
        images = known.get("matchImages")
        texts = (
            [each for each in images if isinstance(each, str)] if isinstance(images, list) else []
        )
        name = str(known.get("name", ""))[:_SHOWN]
        return ProviderRule(name, _patterns(texts), fault=f"its configuration: {why}")


def _unfit(provider: _Provider) -> str:
    if provider.api_version != API_VERSION:
        return f"it speaks {provider.api_version[:_SHOWN]}, and {API_VERSION} is needed"
    tokens = provider.token_attributes
    if tokens is not None and tokens.require_service_account:
        return "it demands a pod's ServiceAccount, and there is no pod"
    return ""


def _checked_name(name: str) -> str:
    if not name or name in {".", ".."} or _NOT_IN_NAME.search(name):
        raise ValueError("the name is none of a program in a folder")
    return name


def _patterns(images: Sequence[str]) -> tuple[ImagePattern, ...]:
    return tuple(ImagePattern.parse(text) for text in images)
