"""Keeps images pinned that sets claim, and lets go what nobody claims; what the runtime has counts.

Nothing is remembered: each look begins with what is pinned by us. An agent that starts has not
been told yet what is claimed, and lets go nothing for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from agent.pin_plan import plan_pins
from agent.runtime.protocol import PinFailed, Runtime, StoredImage
from common.inventory import PinState
from common.messages import ImageDisk

UNCLAIMED_SECONDS: Final = 600.0
"""After so long without a word of any claims the pins of a former run are nobody's."""


class Pinner:
    """One agent's pins."""

    def __init__(
        self, runtime: Runtime, disk: Callable[[], ImageDisk | None], percent: float
    ) -> None:
        """``percent`` of the image disk are what pins may take."""
        self._runtime = runtime
        self._disk = disk
        self._percent = percent
        self._began: float | None = None
        self.may_hold = True
        """Whether any image may be pinned by us."""
        self.ours: frozenset[str] = frozenset()
        """Ids of images that are pinned by us, as far as was looked."""

    async def keep(
        self, claims: Sequence[str] | None, images: Sequence[StoredImage]
    ) -> dict[str, PinState]:
        """Have what is claimed pinned, in this order as far as it may be, and nothing else.

        ``claims`` is None where nobody has said. Answers of each claimed reference that is there
        whether it is pinned. Raises RuntimeAway.
        """
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        if not self._runtime.pins:
            return {}
        if claims is None:
            if now - self._began < UNCLAIMED_SECONDS:
                return {}
            claims = ()
        if not claims and not self.may_hold:
            return {}
        ours = await self._runtime.our_pins()
        plan = plan_pins(claims, images, ours, self._most())
        held = set(ours)
        for image in plan.unpin:
            with suppress(PinFailed):  # the next look tries again
                await self._runtime.unpin(image)
                held.discard(image)
        for image in plan.pin:
            try:
                await self._runtime.pin(image)
                held.add(image)
            except PinFailed:
                plan.refused(image)
        self.ours, self.may_hold = frozenset(held), bool(held)
        return plan.states

    def _most(self) -> float | None:
        disk = self._disk()
        return None if disk is None else disk.total_bytes * self._percent / 100
