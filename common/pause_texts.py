"""Every sentence about tasks that are paused; see ``texts.py``."""

from __future__ import annotations

from common.text import Template

TASK_PAUSED = Template("task.paused", "Paused: no new node begins until it is resumed.")
TASK_NOT_RUNNING = Template(
    "task.notRunning", "The task is {status}; only a running one can be paused or resumed."
)
TASK_OF_SET = Template(
    "task.ofSet", "The task repairs the warm set {set}: pause that to have nothing pulled for it."
)
