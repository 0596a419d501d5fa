"""A node: a machine with containerd, kubelet and kube-proxy, each to be killed and started anew."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.child import Child
from sandbox.kubernetes.machines import Command, Machine
from sandbox.kubernetes.networks import PODS, ROUTER, Addresses
from sandbox.kubernetes.parts import find

PAUSE: Final = "registry.k8s.io/pause:3.10"
_CNI_PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")

# No right to make processes less likely to be killed than they are (no CAP_SYS_RESOURCE) may be had
# here, so that is not asked for.
_CONTAINERD: Final = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = {pause}
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = {hosts}
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{cni_programs}]
    conf_dir = {cni_networks}
"""
# Every registry of the world is this one.
_HOSTS: Final = """\
server = {url}
[host.{url}]
  capabilities = ["pull", "resolve"]
"""


class Node:
    """A worker of a cluster. ``users`` are the kubeconfigs of its kubelet and its kube-proxy."""

    def __init__(
        self,
        machine: Machine,
        addresses: Addresses,
        users: Mapping[str, Path],
        *,
        registry: str,
        group: str,
        authority: Path,
    ) -> None:
        self.name = machine.name
        self.machine = machine
        self.addresses = addresses
        self.group = group
        """Its control group."""
        self._users = users
        self._authority = authority
        folder = machine.folder
        self._cni = folder / "cni"
        self._hosts = folder / "hosts"
        self._config = folder / "containerd.toml"
        self._write_network()
        self._write_runtime(registry)
        self._kubelet_config = folder / "kubelet.yaml"
        self._kubelet_config.write_text(json.dumps(self._kubelet_settings()))  # JSON is YAML
        self._parts: dict[str, Child] = {}

    @property
    def containerd(self) -> Child:
        """The container runtime; what it runs goes on without it."""
        return self._parts["containerd"]

    @property
    def kubelet(self) -> Child:
        """The agent of Kubernetes."""
        return self._parts["kubelet"]

    def start(self) -> None:
        """Start all parts on the machine, which runs. Whether they work, the Node object tells."""
        folder, path = self.machine.folder, f"{find('containerd').parent}:{os.environ['PATH']}"
        commands: dict[str, Command] = {
            "containerd": [find("containerd"), f"--config={self._config}"],
            "kubelet": self._kubelet(),
            "kube-proxy": self._kube_proxy(),
        }
        for name, command in commands.items():
            child = Child(
                self.machine.inside(command),
                folder / f"{name}.log",
                # The programs know the registry by its address; no proxy stands between.
                env={"PATH": path, "HOME": str(folder)},
            )
            self._parts[name] = child
            child.start()

    async def stop(self) -> None:
        """End the machine with everything on it, as a power cut would."""
        await self.machine.stop()
        for part in self._parts.values():
            await part.kill()

    # ── files and command lines ──

    def _write_network(self) -> None:
        networks, programs = self._cni / "networks", self._cni / "programs"
        networks.mkdir(parents=True)
        programs.mkdir()
        for plugin in _CNI_PLUGINS:
            (programs / plugin).symlink_to(find(plugin))
        bridge = {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": self.addresses.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
        network = {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}
        (networks / "pods.conflist").write_text(json.dumps(network))

    def _write_runtime(self, registry: str) -> None:
        everything = self._hosts / "_default"
        everything.mkdir(parents=True)
        (everything / "hosts.toml").write_text(_HOSTS.format(url=json.dumps(registry)))
        self._config.write_text(
            _CONTAINERD.format(
                pause=json.dumps(PAUSE),
                hosts=json.dumps(str(self._hosts)),
                cni_programs=json.dumps(str(self._cni / "programs")),
                cni_networks=json.dumps(str(self._cni / "networks")),
            )
        )

    def _kubelet_settings(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.group}",
            "failSwapOn": False,
            "clusterDNS": [ROUTER],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self._authority)},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            # The disk is this machine's, and how full it is no concern of the cluster's.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0.1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "nodeStatusUpdateFrequency": "2s",
            "nodeLeaseDurationSeconds": 10,
            "serializeImagePulls": False,
            # A machine that is off takes its pods with it: nobody waits for them to end.
            "shutdownGracePeriod": "0s",
        }

    def _kubelet(self) -> Command:
        return [
            find("kubelet"),
            f"--config={self._kubelet_config}",
            f"--kubeconfig={self._users['kubelet']}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.addresses.node}",
            f"--cert-dir={self.machine.folder / 'kubelet-certificates'}",
            "--root-dir=/var/lib/kubelet",
        ]

    def _kube_proxy(self) -> Command:
        return [
            find("kube-proxy"),
            f"--kubeconfig={self._users['kube-proxy']}",
            f"--hostname-override={self.name}",
            f"--cluster-cidr={PODS}",
            "--proxy-mode=iptables",
            # There is no right to change what all networks of this machine share.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]
