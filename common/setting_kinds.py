"""Kinds of values that a setting can have: how each is read, and what to tell a user.

A kind's ``parse`` takes text without surrounding white space and raises ``ValueError``, whose own
words are never shown: they may hold a piece of a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from common.bus.settings import parse_bracketed, parse_server
from common.labels import is_label_key, is_label_value
from common.messages import MOST_LABELS
from common.subjects import is_node_name

T = TypeVar("T")

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_ENDPOINT: Final = re.compile(r"unix://(/[^\0]+)")
_SOCKET_PATH_LIMIT: Final = 107
"""Bytes of a Unix socket's path: ``sun_path`` has 108, the last of them zero."""
_NAMESPACE_LIMIT: Final = 63
_PORT_LIMIT: Final = 65535


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value: what is accepted, in words; how it is read; how a wrong one may be shown."""

    accepts: str
    parse: Callable[[str], T]
    show: Callable[[str], str] = repr

    @property
    def confidential(self) -> bool:
        """Whether a value must not be shown as it is."""
        return self.show is not repr


class Listen(NamedTuple):
    """Where to listen: a name, an address, or an IPv6 address in brackets; port 0 is any free."""

    host: str
    port: int


def integer(minimum: int, maximum: int, note: str = "") -> Kind[int]:
    """Whole numbers in a range, ends included."""

    def parse(text: str) -> int:
        return int(_checked(text, _WHOLE.fullmatch(text) and minimum <= int(text) <= maximum))

    return Kind(f"a whole number from {minimum} to {maximum}{_in_brackets(note)}", parse)


def number(minimum: float, maximum: float) -> Kind[float]:
    """Numbers in a range, ends included, with or without decimals."""

    def parse(text: str) -> float:
        return float(_checked(text, _DECIMAL.fullmatch(text) and minimum <= float(text) <= maximum))

    return Kind(f"a number from {minimum:.15g} to {maximum:.15g}", parse)


def choice(options: Mapping[str, T]) -> Kind[T]:
    """One of some lower-case words, however the user writes it."""

    def parse(text: str) -> T:
        return options[_checked(text.lower(), text.lower() in options)]

    return Kind("one of " + ", ".join(options), parse)


def text(accepts: str, is_valid: Callable[[str], bool] = lambda _: True) -> Kind[str]:
    """Text that a test lets through."""
    return Kind(accepts, lambda value: _checked(value, is_valid(value)))


def _checked(value: str, valid: object) -> str:
    if not valid:
        raise ValueError
    return value


def _in_brackets(note: str) -> str:
    return f" ({note})" if note else ""


def _parse_path(value: str) -> Path:
    return Path(_checked(value, "\0" not in value)).absolute()


def _parse_servers(value: str) -> tuple[str, ...]:
    servers = tuple(part.strip() for part in value.split(","))
    for server in servers:
        parse_server(server)
    return servers


def _show_servers(value: str) -> str:
    """Leave out all before an "@", and what stands like a port and is none: maybe a password."""
    tail = re.sub(r"(?s).*@", "***@", value)
    return repr(re.sub(r"(?s):(?!//|[0-9]+(?:[,/]|$)).*", ":***", tail))


def _parse_listen(value: str) -> Listen:
    host, _, port = value.rpartition(":")
    _checked(port, _WHOLE.fullmatch(port) and -1 <= int(port) <= _PORT_LIMIT)
    if host.startswith("["):
        host = f"[{parse_bracketed(host)}]"  # in one spelling, so that [::0] is every address too
    else:
        _checked(host, _HOST.fullmatch(host))
    return Listen(host, max(0, int(port)))  # nats-server says -1 for any free port


def _parse_address(value: str) -> str:
    if value == "localhost":
        return value
    if value.startswith("["):
        return f"[{parse_bracketed(value)}]"
    return str(IPv4Address(value))


def _is_endpoint(value: str) -> bool:
    found = _ENDPOINT.fullmatch(value)
    return found is not None and len(os.fsencode(found[1])) <= _SOCKET_PATH_LIMIT


def _parse_labels(value: str) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    for pair in value.split(",") if value else ():
        key, equals, label = pair.strip().partition("=")
        _checked(key, equals and is_label_key(key) and is_label_value(label))
        labels[_checked(key, key not in labels)] = label
        _checked(key, len(labels) <= MOST_LABELS)
    return labels


def _is_namespace(value: str) -> bool:
    return is_node_name(value) and "." not in value and len(value) <= _NAMESPACE_LIMIT


PORT: Final = integer(0, _PORT_LIMIT, "0: any free port")
SECRET: Final = Kind(
    "text without white space",
    lambda value: _checked(value, not any(map(str.isspace, value))),
    show=lambda _: "(not shown)",
)
PATH: Final = Kind("a path", _parse_path)
"""Made absolute; whether something is there is for the user of the path to find out."""
NATS_SERVERS: Final = Kind(
    "nats://host:port or tls://host:port, an IPv6 address in brackets, with user:password@ before "
    "the host where needed, or several of them with commas between",
    _parse_servers,
    show=_show_servers,
)
LISTEN: Final = Kind(
    "host:port, an IPv6 address in brackets (port 0: any free port)", _parse_listen
)
ADDRESS: Final = Kind("`localhost`, or an IP address, IPv6 in brackets", _parse_address)
RUNTIME_ENDPOINT: Final = text(
    f"unix:///path/of/a.sock, the path at most {_SOCKET_PATH_LIMIT} bytes", _is_endpoint
)
LABELS: Final = Kind(
    f"key=value,… in Kubernetes' syntax for labels, each key once, at most {MOST_LABELS} of them",
    _parse_labels,
)
NODE_NAME: Final = text(
    "an RFC 1123 subdomain (lower-case letters, digits, '-' and '.')", is_node_name
)
SECRET_NAME: Final = NODE_NAME
"""A Secret's name follows the same rule."""
NAMESPACE: Final = text(
    f"an RFC 1123 label (at most {_NAMESPACE_LIMIT} lower-case letters, digits and '-')",
    _is_namespace,
)
