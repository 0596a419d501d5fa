"""The network between machines: one of them is bridge and router to all others.

Addresses are of no network but their own. A node has one on the router's bridge, and a subnet for
its pods that the router knows the way to; nodes know no way but the router.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandbox.kubernetes.machines import Machine

ROUTER: Final = "10.210.0.1"
SERVICES: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
PODS: Final = "10.244.0.0/16"
_BRIDGE: Final = "machines"
# The bridge is a wire: its frames are nobody's to filter. And a node that sends to another node's
# pods by way of the router is not to be told of a shorter way, which it would remember.
_ROUTER_SETTINGS: Final = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
    "net.bridge.bridge-nf-call-iptables=0",
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What belongs to the node with a number (1 to 250)."""

    number: int

    @property
    def node(self) -> str:
        """The node's own address."""
        return f"10.210.0.{self.number + 1}"

    @property
    def pods(self) -> str:
        """The subnet of its pods."""
        return f"10.244.{self.number}.0/24"


def make_router(router: Machine) -> None:
    """Give a machine a bridge that others can be plugged into. Raises MachineError."""
    router.run("ip", "link", "add", _BRIDGE, "type", "bridge")
    router.run("sysctl", "-qw", *_ROUTER_SETTINGS)
    router.run("ip", "address", "add", f"{ROUTER}/24", "dev", _BRIDGE)
    router.run("ip", "link", "set", _BRIDGE, "up")


def cable(name: str) -> str:
    """The router's end of the cable to a machine."""
    return f"to-{name}"


def plug_in(router: Machine, machine: Machine, addresses: Addresses) -> None:
    """Connect a machine that was just started to the bridge. Raises MachineError."""
    end = cable(machine.name)
    machine.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", end)
    machine.run("ip", "address", "add", f"{addresses.node}/24", "dev", "eth0")
    machine.run("ip", "link", "set", "eth0", "up")
    machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    machine.give_interface(end, router)
    machine.run("ip", "route", "add", "default", "via", ROUTER)
    router.run("ip", "link", "set", end, "master", _BRIDGE, "up")
    router.run("ip", "route", "replace", addresses.pods, "via", addresses.node)
