"""The settings of an agent, from its environment."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from common.setting_kinds import (
    LABELS,
    NATS_SERVERS,
    NODE_NAME,
    PATH,
    PORT,
    RUNTIME_ENDPOINT,
    choice,
    integer,
    number,
    text,
)
from common.settings import Computed, ProgramSettings, optional, required, setting


class DriverName(StrEnum):
    """How the agent speaks to the container runtime."""

    CRI = "cri"
    CRICTL = "crictl"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(ProgramSettings):
    """An agent's settings, valid one by one; whether they work out shows at the start."""

    nats_servers: tuple[str, ...] = required(
        "IPS_NATS_URL", NATS_SERVERS, "The NATS that the coordinator uses"
    )
    node_name: str = setting(
        "IPS_NODE_NAME",
        NODE_NAME,
        "Name of the node; in Kubernetes the Node's own",
        default=Computed("the host name in lower case", lambda _: socket.gethostname().lower()),
    )
    node_labels: Mapping[str, str] = setting(
        "IPS_NODE_LABELS",
        LABELS,
        "Labels of the node, for selectors (node source `agents`)",
        default="",
    )
    runtime: DriverName = setting(
        "IPS_RUNTIME",
        choice({member.value: member for member in DriverName}),
        "The container runtime's interface: CRI on its socket, the program `crictl`, or a "
        "simulation that pulls nothing",
        default="cri",
    )
    runtime_endpoint: str = setting(
        "IPS_RUNTIME_ENDPOINT",
        RUNTIME_ENDPOINT,
        "Socket of the container runtime",
        default="unix:///run/containerd/containerd.sock",
    )
    crictl: str = setting(
        "IPS_CRICTL",
        text("a program's name or path"),
        "The `crictl` program (runtime `crictl`)",
        default="crictl",
    )
    registry_config: Path | None = optional(
        "IPS_REGISTRY_CONFIG",
        PATH,
        "Docker `config.json` on the node with credentials for registries",
    )
    credential_provider_config: Path | None = optional(
        "IPS_CREDENTIAL_PROVIDER_CONFIG",
        PATH,
        "The node's file, or folder of files, about credential providers "
        "(`CredentialProviderConfig`, as the kubelet's `--image-credential-provider-config`)",
    )
    credential_provider_folder: Path | None = optional(
        "IPS_CREDENTIAL_PROVIDER_BIN_DIR",
        PATH,
        "Folder with the programs of credential providers (as the kubelet's "
        "`--image-credential-provider-bin-dir`), and of Docker's credential helpers, which are "
        "looked for in `PATH` too",
    )
    installation: str = setting(
        "IPS_INSTALLATION",
        NODE_NAME,
        "Name of the installation, different where agents of several use one container runtime: "
        "none touches what another has half pulled",
        default="ips",
    )
    parallel_pulls: int = setting(
        "IPS_AGENT_PARALLEL_PULLS",
        integer(1, 100),
        "Images that are pulled at once on this node",
        default="2",
    )
    pin_disk_percent: float = setting(
        "IPS_PIN_DISK_PERCENT",
        number(0, 100),
        "Share of the image disk that images pinned by warm sets may take",
        default="50",
    )
    metrics_port: int = setting(
        "IPS_AGENT_METRICS_PORT",
        PORT,
        "Port of the agent's metrics and health, at every address (IPv6 and IPv4)",
        default="9101",
    )
    stall_seconds: float = setting(
        "IPS_STALL_SECONDS",
        number(0.1, 86_400),
        "A pull whose open download gets no byte for so long has failed (where bytes can be seen)",
        default="300",
    )
    heartbeat_seconds: float = setting(
        "IPS_HEARTBEAT_SECONDS",
        number(0.05, 60),
        "Time between two signs of life",
        default="10",
    )
    simulated_seconds: float = setting(
        "IPS_SIMULATED_SECONDS",
        number(0, 86_400),
        "Duration of a simulated pull",
        default="2",
    )
    simulated_bytes: int = setting(
        "IPS_SIMULATED_BYTES",
        integer(0, 10**13),
        "Size of a simulated image",
        default="50000000",
    )
    simulated_failure_rate: float = setting(
        "IPS_SIMULATED_FAILURE_RATE",
        number(0, 1),
        "Share of simulated pulls that fail",
        default="0",
    )
    simulated_hold: Path | None = optional(
        "IPS_SIMULATED_HOLD",
        PATH,
        "A simulated pull that begins while this file exists stands still until it is gone",
    )

    @property
    def state_dir(self) -> Path:
        """This agent's own folder in the data directory: one a node, so that three may share it."""
        return self.data_dir / "agent" / self.node_name
