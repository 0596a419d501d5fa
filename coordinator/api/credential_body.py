"""The body of a put of a credential. No message about it repeats what may be the secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType, inspect

from common import credential_texts, texts
from common.text import Text
from coordinator.api.faults import fault, faults, rule, shown
from coordinator.api.problems import bad_request
from coordinator.credentials.records import (
    REGISTRY_CHARACTERS,
    SECRET_CHARACTERS,
    USERNAME_CHARACTERS,
    RegistryLogin,
    registry_of,
)


def _check_registry(text: str) -> Iterator[tuple[str, Text]]:
    if registry_of(text) is None:
        yield "", credential_texts.CREDENTIAL_REGISTRY()


def _demand_secret(value: Any) -> Text:
    got = f"one of {len(value):,}" if isinstance(value, str) else shown(value)
    if isinstance(value, int | float):
        got = "a number"
    return texts.VALUE_NOT_SHORT_TEXT(most=SECRET_CHARACTERS, got=got)


class PutRegistryCredential(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """How a registry knows who may read: either a user name and a password, or a token."""

    registry: Annotated[
        str,
        rule(
            _check_registry,
            max_length=REGISTRY_CHARACTERS,
            description="Host and, where it has one, port, as images name it.",
            examples=["registry.example.com", "docker.io"],
        ),
    ]
    username: Annotated[str, rule(min_length=1, max_length=USERNAME_CHARACTERS)] | UnsetType = UNSET
    password: (
        Annotated[
            str,
            rule(
                demand=_demand_secret,
                min_length=1,
                max_length=SECRET_CHARACTERS,
                description="A password or an access token; never answered again.",
            ),
        ]
        | UnsetType
    ) = UNSET
    token: (
        Annotated[
            str,
            rule(
                demand=_demand_secret,
                min_length=1,
                max_length=SECRET_CHARACTERS,
                description="For the registry's server of tokens, as Docker's `identitytoken`; "
                "never answered again.",
            ),
        ]
        | UnsetType
    ) = UNSET


_SHAPE: Final = inspect.type_info(PutRegistryCredential)


def read_credential(name: str, body: Any) -> RegistryLogin:
    """Check a decoded body. A Refusal names everything that is wrong with it."""
    if found := list(faults(_SHAPE, body)):
        raise bad_request(found)
    asked = msgspec.convert(body, PutRegistryCredential)
    has_login = asked.username is not UNSET and asked.password is not UNSET
    has_any = asked.username is not UNSET or asked.password is not UNSET
    if has_any != has_login or has_login == (asked.token is not UNSET):
        raise bad_request([fault("", credential_texts.CREDENTIAL_ONE_KIND())])
    return RegistryLogin(
        name=name,
        registry=registry_of(asked.registry) or asked.registry,
        username=asked.username or "",
        password=asked.password or "",
        token=asked.token or "",
    )
