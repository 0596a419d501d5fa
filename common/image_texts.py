"""Every sentence about what images are where; see ``texts.py``."""

from __future__ import annotations

from common.text import Template

NODE_SILENT = Template(
    "node.silent", "The agent on node {node} does not answer, so what images are there is unknown."
)
NODE_RUNTIME_SILENT = Template(
    "node.runtimeSilent", "The container runtime of node {node} does not answer: {why}"
)
IMAGES_BUSY = Template(
    "image.busy", "Too many nodes and images are being looked up at once: try again."
)
