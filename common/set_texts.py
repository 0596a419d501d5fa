"""Every sentence about warm sets; see ``texts.py``."""

from __future__ import annotations

from common.text import Template

SET_UNKNOWN = Template("set.unknown", "There is no such set.")
SET_NAME = Template(
    "set.name", "{text} is no name of a set: lower-case letters, digits and dashes, 50 at most"
)
SET_CHANGED = Template(
    "set.changed", "The set is not as it was when it was read (If-Match): read it again."
)
SETS_TOO_MANY = Template("set.tooMany", "There are {most} sets already, and no more may be.")
SET_CRON = Template(
    "set.cron",
    "{text} is no cron: five fields (minute, hour, day of month, month, day of week) that hold of "
    "some moment",
)
SET_ZONE = Template("set.zone", "{text} is no time zone that is known here, such as Asia/Shanghai")
VALUE_NOT_DURATION = Template(
    "value.notDuration", "must be a duration from {least} to {most}, such as 90m or 2h, not {got}"
)
SET_DELETED = Template("set.deleted", "Set deleted. Its images stay.")

# ── why a node is not warm ───────────────────────────────────────────────────────────────────

SET_PAUSED = Template("set.paused", "The set is paused.")
SET_OUTSIDE_WINDOW = Template(
    "set.outsideWindow",
    "The set pulls in its windows only; the next one begins at {next} ({zone}).",
)
SET_NO_WINDOW = Template(
    "set.noWindow",
    "The set pulls in its windows only, which cannot be told: is the time zone {zone} known here?",
)
SET_NODE_OLD_AGENT = Template(
    "set.node.oldAgent",
    "The agent of node {node} is of version {version}, which does not tell what images are there.",
)
SET_NODE_UNHEARD = Template(
    "set.node.unheard", "What images are on node {node} has not been heard yet."
)
SET_NODE_DUE = Template("set.node.due", "Node {node} is cold, and is about to be warmed.")
SET_NODE_QUEUED = Template(
    "set.node.queued", "Node {node} waits: {most} repairs of sets run already, and no more may."
)
SET_NODE_NEXT_REPAIR = Template(
    "set.node.nextRepair", "Node {node} waits for the end of {task}, which warms others of the set."
)
SET_NODE_IN_REPAIR = Template("set.node.inRepair", "Node {node} waits for its turn in {task}.")
SET_NODE_PULLING = Template("set.node.pulling", "Node {node} is being warmed by {task}.")
SET_NODE_THRASHING = Template(
    "set.node.thrashing",
    "Images of the set vanished from node {node} {times} times within an hour: is its disk too "
    "small for the set?",
)
SET_NODE_DISK = Template(
    "set.node.disk",
    "The image disk of node {node} is full to {percent:.0f} %; a set fills none beyond "
    "{limit} %: {free_gib:.1f} GiB of {total_gib:.1f} are free.",
)
SET_NODE_NO_ROOM = Template(
    "set.node.noRoom",
    "The image disk of node {node} has no room for what it lacks of the set: needs {needs_gib:.1f} "
    "GiB, {free_gib:.1f} free below {limit} % of {total_gib:.1f} GiB.",
)
SET_NODE_UNSEEN = Template(
    "set.node.unseen", "{task} pulled every image on node {node}, which does not show them."
)

# ── how a set is as a whole ──────────────────────────────────────────────────────────────────

SET_ALL_WARM = Template("set.allWarm", "Every node is warm ({nodes}).")
SET_NO_NODES = Template("set.noNodes", "No node matches.")
SET_NOT_WARM = Template("set.notWarm", "{warm} of {nodes} nodes are warm.")
SET_REPAIRING = Template("set.repairing", "{nodes} nodes are being warmed, or are about to be.")
SET_UNREFRESHED = Template(
    "set.unrefreshed",
    "Whether tags have moved is not known: the last {times} looks failed ({reason}): {image} {why}",
)
SET_UNREFRESHED_UNKNOWN = Template(
    "set.unrefreshedUnknown",
    "Whether tags have moved is not known: the last {times} looks were not brought to their end.",
)
SET_REFRESHING = Template(
    "set.refreshing", "Its tags are looked at again as soon as the set may pull on a warm node."
)
SET_NO_TAGS = Template("set.noTags", "The set has no tags, which alone can move.")
SET_AT_REST = Template("set.atRest", "Nothing is to be done at this moment.")
SET_TROUBLED = Template("set.troubled", "{nodes} nodes cannot be warmed: {reasons}.")
SET_UNTROUBLED = Template("set.untroubled", "No node is kept from being warm.")
