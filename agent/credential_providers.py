"""Credential providers of the kubelet's, asked by its own contract, each answer kept as it says.

https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/, by what
``pkg/credentialprovider/plugin`` does: the image goes without tag and digest, an answer is good for
that image, its registry or all that the provider matches.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from agent.credential_programs import CredentialProgramError, answer_of
from agent.provider_config import (
    API_VERSION,
    ConfigError,
    ProviderRule,
    read_rules,
    seconds_of_go,
    state_of,
)
from agent.runtime.protocol import Credentials
from common.clock import elapsed
from common.docker_config import ConfiguredLogin, DockerConfig, registry_key
from common.image_reference import ImageReference
from common.messages import NOT_DECODABLE

if TYPE_CHECKING:
    from pathlib import Path

MOST_KEPT: Final = 1000
"""Answers of one provider."""
_LONGEST_SECONDS: Final = 10.0 * 365 * 86_400

_log = logging.getLogger(__name__)


class CacheKeyType(StrEnum):
    """What an answer is good for."""

    IMAGE = "Image"
    REGISTRY = "Registry"
    GLOBAL = "Global"


class _Auth(msgspec.Struct):
    username: str = ""
    password: str = ""


class _Request(msgspec.Struct, rename="camel"):
    image: str
    api_version: str = API_VERSION
    kind: str = "CredentialProviderRequest"


class _Response(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    cache_key_type: CacheKeyType
    cache_duration: str | None = None
    auth: dict[str, _Auth] | None = None


_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(_Response).decode


class ProviderAnswers(NamedTuple):
    """What all that match an image have said."""

    credentials: list[Credentials]
    faults: list[str]
    """Which of them gave nothing that can be used, and why."""


class CredentialProviders:
    """The providers of a node, in a file or folder that may change at any time."""

    def __init__(
        self,
        config: Path | None,
        programs: Path | None,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        """``programs``: the folder with the providers' programs. Without either there are none.

        ``clock`` counts seconds.
        """
        self._clock = clock
        self._config = config
        self._programs = programs
        self._state: object = None
        self._providers: Sequence[_CredentialProvider] = ()

    async def lookup(self, image: ImageReference) -> ProviderAnswers:
        """Ask each that matches, at the same time. Nothing is raised for what one does wrong."""
        self._refresh()
        asked = [each for each in self._providers if each.rule.matches(image)]
        answers = await asyncio.gather(*(each.lookup(image) for each in asked))
        credentials, faults = list[Credentials](), list[str]()
        for provider, answer in zip(asked, answers, strict=True):
            if isinstance(answer, str):
                faults.append(f"credential provider {provider.rule.name}: {answer}")
            else:
                credentials += answer
        return ProviderAnswers(credentials, faults)

    def _refresh(self) -> None:
        if self._config is None or self._programs is None:
            return
        state = state_of(self._config)
        if state == self._state:
            return
        self._state = state
        try:
            rules = read_rules(self._config)
        except ConfigError as why:
            _log.error("no credential providers: %s: %s", self._config, why)
            rules = ()
        for rule in rules:
            if rule.fault:
                _log.warning("credential provider %s: %s", rule.name, rule.fault)
        self._providers = [_CredentialProvider(rule, self._programs, self._clock) for rule in rules]


class _CredentialProvider:
    """One provider, with what it has said.

    Whoever asks waits for who has asked about the same registry before, unless an answer is kept.
    """

    def __init__(self, rule: ProviderRule, programs: Path, clock: Callable[[], float]) -> None:
        self.rule = rule
        self._program = programs / rule.name
        self._clock = clock
        self._kept: OrderedDict[tuple[CacheKeyType, str], tuple[DockerConfig, float]] = (
            OrderedDict()
        )
        self._asking = WeakValueDictionary[str, asyncio.Lock]()
        """By registry, as long as somebody asks about it."""

    async def lookup(self, image: ImageReference) -> list[Credentials] | str:
        """What it has for an image, the more specific first; a text where it is at fault."""
        if self.rule.fault:
            return self.rule.fault
        try:
            config = self._at_hand(image) or await self._ask_in_turn(image)
        except CredentialProgramError as why:
            return str(why)
        return [
            Credentials(image.registry, login.username, login.password)
            for login in config.matching(image)
        ]

    async def _ask_in_turn(self, image: ImageReference) -> DockerConfig:
        """Ask, unless who has asked about the same registry meanwhile got an answer."""
        async with self._asking.setdefault(image.registry, asyncio.Lock()):
            return self._at_hand(image) or await self._ask(image)

    def _at_hand(self, image: ImageReference) -> DockerConfig | None:
        now = self._clock()
        for key in (_key(each, image) for each in CacheKeyType):
            kept = self._kept.get(key)
            if kept is not None and now < kept[1]:
                return kept[0]
        return None

    async def _ask(self, image: ImageReference) -> DockerConfig:
        rule = self.rule
        question = _encode(_Request(f"{image.registry}/{image.repository}"))
        output = await answer_of(self._program, rule.arguments, question, dict(rule.environment))
        try:
            answer = _read(output)
            seconds = (
                rule.cache_seconds
                if answer.cache_duration is None
                else seconds_of_go(answer.cache_duration)
            )
        except (*NOT_DECODABLE, ValueError):
            raise CredentialProgramError("its answer is not what the kubelet reads") from None
        if (answer.api_version, answer.kind) != (API_VERSION, "CredentialProviderResponse"):
            raise CredentialProgramError(f"its answer is not of {API_VERSION}")
        config = _config_of(answer)
        self._keep(_key(answer.cache_key_type, image), config, min(seconds, _LONGEST_SECONDS))
        return config

    def _keep(self, key: tuple[CacheKeyType, str], config: DockerConfig, seconds: float) -> None:
        now = self._clock()
        for old in [old for old, (_, until) in self._kept.items() if until <= now]:
            del self._kept[old]
        if seconds > 0:
            self._kept[key] = config, now + seconds
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


def _key(kind: CacheKeyType, image: ImageReference) -> tuple[CacheKeyType, str]:
    match kind:
        case CacheKeyType.IMAGE:
            return kind, f"{image.registry}/{image.repository}"
        case CacheKeyType.REGISTRY:
            return kind, image.registry
        case CacheKeyType.GLOBAL:
            return kind, ""


def _config_of(answer: _Response) -> DockerConfig:
    logins: dict[str, list[ConfiguredLogin]] = {}
    for name, auth in (answer.auth or {}).items():
        if auth.username or auth.password:
            key = registry_key(name)
            logins.setdefault(key, []).append(ConfiguredLogin(key, auth.username, auth.password))
    return DockerConfig(logins)
