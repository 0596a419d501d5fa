"""What a connection needs of whoever carries its messages: a server's session, or one in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.bus.session import Delivery


class Transport(Protocol):
    """One session with one server, from its handshake to its end; never made again."""

    url: str
    """Where it leads, for people."""
    ended: asyncio.Future[str]
    """Done, with the reason, when the session is no more. Never await it directly."""

    @property
    def alive(self) -> bool:
        """Whether messages can be sent."""

    def send_message(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """Send behind what was sent before. Raises NotConnected, or ValueError for no subject."""

    def listen(
        self, number: int, subject: str, handler: Callable[[Delivery], None], queue: str = ""
    ) -> None:
        """Subscribe under a number that is unique in this session. Raises NotConnected."""

    async def heard(self, within: float) -> None:
        """Wait until the server has taken in all that was sent. Raises TimedOut, NotConnected."""

    def forget(self, number: int) -> None:
        """Take back ``listen``."""

    async def hang_up(self) -> None:
        """Disconnect."""
