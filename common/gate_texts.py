"""Every sentence about gates of warm sets; see ``texts.py``."""

from __future__ import annotations

from common.text import Template

GATES_OFF = Template(
    "gate.off", "Gates are not kept here: IPS_GATES=on turns them on (deploy/components/gate)."
)
GATES_NO_KUBERNETES = Template(
    "gate.noKubernetes", "Gates need nodes of Kubernetes: IPS_NODE_SOURCE=kubernetes."
)
GATE_EMPTY = Template("gate.empty", "has no effect: it needs a condition (true), or a taint")
GATE_TAINT = Template(
    "gate.taint", "{text} is no key of a taint under ips.dev/, such as ips.dev/warming"
)
GATE_OPEN_AFTER = Template(
    "gate.openAfter", "{text} is no duration from 1s to 168h, such as 10m or 1h30m"
)
GATE_KEPT = Template("gate.kept", "The Nodes of the set are told what is warm.")
GATE_REFUSED = Template(
    "gate.refused",
    "Kubernetes refuses the right to patch {right}, so that gates do not work as they should "
    "(deploy/components/gate): {why}",
)

# ── what Nodes are told ──────────────────────────────────────────────────────────────────────

GATE_NODE_WARM = Template("gate.node.warm", "Every image of the set {set} is on node {node}.")
GATE_NODE_UNHEARD = Template(
    "gate.node.unheard", "What images of the set {set} are on node {node} is not known."
)
GATE_NODE_COLD = Template("gate.node.cold", "Node {node} lacks images of the set {set}.")
GATE_OPENED = Template(
    "gate.opened",
    "The taint {taint} is taken away although node {node} is not warm: {sets}. Pods may have to "
    "wait for images.",
)
GATE_UNCLAIMED = Template(
    "gate.unclaimed",
    "The taint {taint} is taken away from node {node}: no gate of a set that the node is in "
    "names it.",
)
