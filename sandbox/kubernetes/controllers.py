"""What makes an API server a cluster: controller-manager, scheduler, and a name server for pods."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sandbox.child import Child
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.kubernetes.machines import Command
from sandbox.kubernetes.parts import find

# Names of Services and pods, and no others: there is no one to ask for those.
_NAMES: Final = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {config}
        pods insecure
        ttl 5
    }}
}}
"""


def api_server_options(certificate: Path, key: Path) -> list[str]:
    """What an API server needs that has kubelets, which know it by this certificate."""
    return [
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={certificate}",
        f"--kubelet-client-key={key}",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def controllers(plane: ControlPlane, *, node_silence: int) -> dict[str, Child]:
    """All three, to be started where the API server is. Each is somebody of its own to it.

    A node that is silent for longer than ``node_silence`` seconds is said to be so.
    """
    commands = {
        "kube-controller-manager": _controller_manager(plane, node_silence),
        "kube-scheduler": _scheduler(plane),
        "coredns": _coredns(plane),
    }
    return {
        name: Child(plane.place.inside(command), plane.folder / f"{name}.log")
        for name, command in commands.items()
    }


def _controller_manager(plane: ControlPlane, node_silence: int) -> Command:
    return [
        find("kube-controller-manager"),
        f"--kubeconfig={plane.add_user('system:kube-controller-manager')}",
        "--use-service-account-credentials",
        "--authentication-skip-lookup",
        f"--root-ca-file={plane.access.authority}",
        f"--service-account-private-key-file={plane.service_account_key}",
        "--leader-elect=false",
        f"--node-monitor-grace-period={node_silence}s",
    ]


def _scheduler(plane: ControlPlane) -> Command:
    return [
        find("kube-scheduler"),
        f"--kubeconfig={plane.add_user('system:kube-scheduler')}",
        "--authentication-skip-lookup",
        "--leader-elect=false",
    ]


def _coredns(plane: ControlPlane) -> Command:
    config = plane.add_user("coredns", "system:masters")
    names = plane.folder / "Corefile"
    names.write_text(_NAMES.format(address=plane.place.address, config=config))
    return [find("coredns"), f"-conf={names}"]
