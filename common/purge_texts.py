"""Every sentence about purges of images; see ``texts.py``."""

from __future__ import annotations

from common.text import Template

PURGE_UNKNOWN = Template("purge.unknown", "There is no such purge: each is kept for a day.")
PURGES_TOO_MANY = Template(
    "purge.tooMany", "{most} purges run already at this coordinator: try again when one is over."
)
PURGE_INTERRUPTED = Template(
    "purge.interrupted",
    "The coordinator that carried it out ended meanwhile. Nodes that are missing here were not "
    "asked, or their answer is lost: purge again.",
)
PURGE_SET_DELETED = Template(
    "set.deletedWithPurge", "Set deleted. Its images are being removed: see {purge}."
)

# ── of one node ──────────────────────────────────────────────────────────────────────────────

PURGE_NODE_OLD_AGENT = Template(
    "purge.node.oldAgent",
    "The agent of node {node} is of version {version}, which cannot remove images.",
)
PURGE_NODE_SILENT = Template(
    "purge.node.silent",
    "The agent on node {node} did not answer: whether it has removed anything is unknown.",
)
PURGE_NODE_UNTOLD = Template(
    "purge.node.untold",
    "Node {node} was not yet told what warm sets want there now, so nothing was removed.",
)

# ── of one image ─────────────────────────────────────────────────────────────────────────────

KEPT_IN_USE = Template("purge.kept.inUse", "A container has it.")
KEPT_WANTED = Template("purge.kept.wanted", "A warm set wants {image} there.")
KEPT_PINNED = Template("purge.kept.pinned", "It is pinned, and not by a warm set.")
KEPT_PULLING = Template("purge.kept.pulling", "{image} is being pulled there.")
KEPT_NOT_REMOVED = Template(
    "purge.kept.notRemoved", "The container runtime did not remove it: {why}"
)
KEPT_TOO_LATE = Template("purge.kept.tooLate", "The time was over before its turn: purge again.")
