"""An agent whose simulated pulls last until a test lets them go: ``python -m`` this.

An image ``…/held/<gate>`` hardly moves on from a third of its bytes until the file
``<gate>/<node>`` or ``<gate>/all`` is in the folder that ``IPS_TEST_GATES`` names.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import agent.main
from agent.runtime.protocol import Bytes, OnBytes, PresentImage
from agent.runtime.simulated import SimulatedRuntime

_HELD = re.compile(r".*/held/(?P<gate>[a-z0-9]+)(?:[:@].*)?")
_LOOK_SECONDS = 0.02


class HeldRuntime(SimulatedRuntime):
    """See the module."""

    async def pull(
        self, reference: str, *arguments: Any, on_bytes: OnBytes, **options: Any
    ) -> PresentImage:
        """Wait for the gate, then pull."""
        if found := _HELD.fullmatch(reference):
            gate = Path(os.environ["IPS_TEST_GATES"], found["gate"])
            done = self._size // 3
            while not any((gate / name).exists() for name in (self._seed, "all")):
                on_bytes(Bytes(done, self._size))
                done = min(done + 1, self._size - 1)
                await asyncio.sleep(_LOOK_SECONDS)
        return await super().pull(reference, *arguments, on_bytes=on_bytes, **options)


if __name__ == "__main__":
    setattr(agent.main, "SimulatedRuntime", HeldRuntime)  # noqa: B010 -- its own import
    sys.exit(agent.main.main())
