"""Settings from the environment: each declared once, read into one frozen struct per program.

A value that is not understood stops the start, and so does a name nobody knows: a misspelt
setting that is silently ignored is found months later. All faults are named at once. An empty
value is an absent one, because compose files and charts write ``NAME=`` for "not set".
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from common.lifecycle import StartupError
from common.logs import LogFormat
from common.setting_kinds import PATH, SECRET, Kind, choice

T = TypeVar("T")

Environment = Mapping[str, str]

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "common": (
        "IPS_NATS_TOKEN",
        "IPS_NATS_TOKEN_FILE",
        "IPS_NATS_CREDS",
        "IPS_NATS_CA",
        "IPS_DATA_DIR",
        "IPS_LOG_LEVEL",
        "IPS_LOG_FORMAT",
    ),
    "coordinator": (
        "SERVER_PORT",
        "IPS_LISTEN",
        "IPS_TLS_CERT",
        "IPS_TLS_KEY",
        "IPS_PUBLIC_URL",
        "IPS_AUTH",
        "IPS_AUTH_TOKENS",
        "IPS_ROLES",
        "IPS_OIDC_ISSUER",
        "IPS_OIDC_AUDIENCE",
        "IPS_OIDC_CLIENT_ID",
        "IPS_OIDC_CLIENT_SECRET_FILE",
        "IPS_OIDC_USER_CLAIM",
        "IPS_OIDC_GROUPS_CLAIM",
        "IPS_OIDC_SCOPES",
        "IPS_OIDC_CA",
        "IPS_SESSION_KEYS_FILE",
        "IPS_SESSION_HOURS",
        "IPS_METRICS_AUTH",
        "IPS_POLICY",
        "IPS_MAX_PENDING_PER_USER",
        "IPS_REQUESTS_PER_MINUTE",
        "IPS_FAILED_LOGINS_PER_MINUTE",
        "K8S_NAMESPACE",
        "WORKER_IMAGE",
        "IPS_NATS_URL",
        "IPS_NATS_TOKEN_SECRET",
        "IPS_NATS_CALLOUT_KEY",
        "IPS_NATS_CALLOUT_SECRET",
        "IPS_NATS_CA_SECRET",
        "IPS_AGENT_SERVICE_ACCOUNT",
        "IPS_NATS_LISTEN",
        "IPS_NATS_SERVER",
        "IPS_REPLICAS",
        "IPS_EVENTS_MAX_BYTES",
        "IPS_AUDIT_MAX_BYTES",
        "IPS_AUDIT_DAYS",
        "IPS_NODE_SOURCE",
        "IPS_NODE_SELECTOR",
        "IPS_KUBE_CONTEXT",
        "IPS_GATES",
        "IPS_KUBERNETES_EVENTS",
        "IPS_CREDENTIALS_KEY_FILE",
        "IPS_WEBHOOK_SECRET_FILE",
        "IPS_WEBHOOK_NETWORKS",
        "IPS_WEBHOOK_PRIVATE",
        "IPS_DISK_LIMIT_PERCENT",
        "IPS_MAX_CONCURRENT_REPAIRS",
        "IPS_MAX_CONCURRENT_TASKS",
        "IPS_MAX_PENDING_TASKS",
        "IPS_MAX_NODES_IN_FLIGHT",
        "IPS_AGENT_WAIT_SECONDS",
        "IPS_TASK_RETENTION_HOURS",
        "IPS_NODE_FORGET_SECONDS",
    ),
    "agent": (
        "IPS_NATS_URL",
        "IPS_NODE_NAME",
        "IPS_NODE_LABELS",
        "IPS_RUNTIME",
        "IPS_RUNTIME_ENDPOINT",
        "IPS_CRICTL",
        "IPS_PIN_DISK_PERCENT",
        "IPS_REGISTRY_CONFIG",
        "IPS_CREDENTIAL_PROVIDER_CONFIG",
        "IPS_CREDENTIAL_PROVIDER_BIN_DIR",
        "IPS_INSTALLATION",
        "IPS_AGENT_PARALLEL_PULLS",
        "IPS_AGENT_METRICS_PORT",
        "IPS_STALL_SECONDS",
        "IPS_HEARTBEAT_SECONDS",
        "IPS_SIMULATED_SECONDS",
        "IPS_SIMULATED_BYTES",
        "IPS_SIMULATED_FAILURE_RATE",
        "IPS_SIMULATED_HOLD",
    ),
    "client": ("IPS_SERVER", "IPS_TOKEN", "IPS_TOKEN_FILE"),
}
"""Every program's names, here so that each program knows the others' without importing them."""

_PREFIX: Final = "IPS_"
_TEST_PREFIX: Final = "IPS_TEST_"
_KNOWN: Final = frozenset(name for names in NAMES.values() for name in names)
_EXCLUSIVE: Final = (("IPS_NATS_TOKEN", "IPS_NATS_TOKEN_FILE"),)

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(
    r".+_SERVICE_HOST"
    r"|.+_SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|.+_PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
)
_SERVICE_ADDRESS: Final = re.compile(r"(?:tcp|udp|sctp)://.*")
_SERVICE_HINT: Final = (
    "made by Kubernetes for a Service; set enableServiceLinks: false in the pod's spec"
)


class SettingsError(StartupError):
    """The environment cannot be understood. The text names every fault, in one line."""

    exit_code: ClassVar[int] = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Computed:
    """A default that depends on the machine: in words, and as the text that would be written.

    ``value`` raises ``ValueError``, with words for a user, where there is none.
    """

    words: str
    value: Callable[[Environment], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One variable. Without a default it must be set, unless it is optional."""

    name: str
    kind: Kind[T]
    doc: str
    default: str | Computed | None = None
    optional: bool = False

    def read(self, environ: Environment) -> T | None:
        """The value in an environment; a ``ValueError`` says what is wrong with it, by name."""
        given = environ.get(self.name, "").strip()
        value = given or self._default(environ)
        if value is None:
            return None
        try:
            return self.kind.parse(value)
        except ValueError:
            raise ValueError(self._complaint(value, given=bool(given))) from None

    def _default(self, environ: Environment) -> str | None:
        match self.default:
            case Computed(value=compute):
                try:
                    return compute(environ)
                except ValueError as error:
                    raise ValueError(f"{self.name} must be set: {error}") from None
            case None if not self.optional:
                raise ValueError(f"{self.name} must be set: {self.kind.accepts}")
            case default:
                return default

    def _complaint(self, value: str, *, given: bool) -> str:
        shown = self.kind.show(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        fault = f"{self.name}={shown}: accepted is {self.kind.accepts}"
        if not given:
            return f"{fault} (this value is the default on this machine: set another)"
        if _is_service_address(self.name, value):
            return f"{fault} (this value was {_SERVICE_HINT})"
        return fault


def _is_service_address(name: str, value: str) -> bool:
    return name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value) is not None


_METADATA: Final = "setting"
_SHOWN: Final = 300
"""Characters of a value that a message repeats."""


def setting(name: str, kind: Kind[T], doc: str, *, default: str | Computed) -> T:
    """Declare a setting with a default, written as a user would write it."""
    declared: T = _declared(Setting(name=name, kind=kind, doc=doc, default=default))
    return declared


def optional(name: str, kind: Kind[T], doc: str) -> T | None:
    """Declare a setting that is None where it is not set."""
    declared: T | None = _declared(Setting(name=name, kind=kind, doc=doc, optional=True))
    return declared


def required(name: str, kind: Kind[T], doc: str) -> T:
    """Declare a setting without which the program cannot start."""
    declared: T = _declared(Setting(name=name, kind=kind, doc=doc))
    return declared


def _declared(declaration: Setting[Any]) -> Any:
    return field(repr=not declaration.kind.confidential, metadata={_METADATA: declaration})


def _state_directory(environ: Environment) -> str:
    if os.geteuid() == 0:
        return "/var/lib/ips"
    state = environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):  # the XDG specification: a relative one is to be ignored
        return f"{state}/ips"
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise ValueError("this user has no home directory")
    return f"{home}/.local/state/ips"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings:
    """What both programs can be told."""

    nats_token: str | None = optional(
        "IPS_NATS_TOKEN", SECRET, "Token that NATS demands; better in a file"
    )
    nats_token_file: Path | None = optional(
        "IPS_NATS_TOKEN_FILE", PATH, "File that holds the token, instead of `IPS_NATS_TOKEN`"
    )
    nats_creds: Path | None = optional(
        "IPS_NATS_CREDS", PATH, "NATS credentials file (`.creds`: JWT and seed)"
    )
    nats_ca: Path | None = optional(
        "IPS_NATS_CA", PATH, "PEM file that the NATS server's certificate is checked against"
    )
    data_dir: Path = setting(
        "IPS_DATA_DIR",
        PATH,
        "Folder for what must outlive a restart: the coordinator uses `coordinator/` in it, "
        "an agent `agent/<node name>/`",
        default=Computed(
            "`/var/lib/ips` for root, else `$XDG_STATE_HOME/ips` or `~/.local/state/ips`",
            _state_directory,
        ),
    )
    log_level: int = setting(
        "IPS_LOG_LEVEL",
        choice(
            {
                "debug": logging.DEBUG,
                "info": logging.INFO,
                "warning": logging.WARNING,
                "error": logging.ERROR,
            }
        ),
        "Lowest level that is logged, to stderr",
        default="info",
    )
    log_format: LogFormat = setting(
        "IPS_LOG_FORMAT",
        choice({member.value: member for member in LogFormat}),
        "`json`, one object a line, or `text`; `auto` is `text` on a terminal, else `json`",
        default="auto",
    )

    @classmethod
    def declarations(cls) -> dict[str, Setting[Any]]:
        """What is declared, by field name."""
        return {each.name: each.metadata[_METADATA] for each in fields(cls)}

    @classmethod
    def load(cls, environ: Environment) -> Self:
        """Read the environment; ``SettingsError`` names all that is wrong with it."""
        faults = [*_unknown(environ), *_clashes(environ)]
        values: dict[str, Any] = {}
        for name, declaration in cls.declarations().items():
            try:
                values[name] = declaration.read(environ)
            except ValueError as fault:
                faults.append(str(fault))
        if faults:
            raise SettingsError(faults)
        return cls(**values)


def _unknown(environ: Environment) -> Iterator[str]:
    links: list[str] = []
    for name in sorted(environ.keys() - _KNOWN):
        if not name.startswith(_PREFIX) or name.startswith(_TEST_PREFIX):
            continue
        if _SERVICE_LINK.fullmatch(name) or _is_service_address(name, environ[name]):
            links.append(name)
            continue
        near = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
        yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
    if links:
        yield f"{', '.join(links)}: {_SERVICE_HINT}"


def _clashes(environ: Environment) -> Iterator[str]:
    for names in _EXCLUSIVE:
        if all(environ.get(name, "").strip() for name in names):
            yield f"{' and '.join(names)} are both set: leave one of them out"
