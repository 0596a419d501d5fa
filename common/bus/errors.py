"""What can go wrong on the bus, by what the caller can do about it."""

# ruff: noqa: N818 -- an exception here is named by what happened, as callers speak of it

from __future__ import annotations

from common.lifecycle import StartupError


class BusError(Exception):
    """Anything that goes wrong on the bus; its text is one line for a log.

    ``cause`` is the same without the subject that it was about, which is ours and says nothing to
    a user.
    """

    def __init__(self, cause: str, *, about: str = "") -> None:
        super().__init__(f"{about}: {cause}" if about else cause)
        self.cause = cause
        self.about = about


class BusRefused(BusError, StartupError):
    """The server is there and will not have us: wrong password or token, or TLS that fails."""


class NoJetStream(BusError, StartupError):
    """The server is there and cannot store: JetStream is off for it or for our account."""


class NotConnected(BusError):
    """No connection at this moment; nothing was sent, or an answer can no longer arrive."""


class NoResponders(BusError):
    """Nobody listens on the subject: known at once, without waiting."""


class TimedOut(BusError):
    """No answer in time; the message may have arrived all the same."""


class Conflict(BusError):
    """A compare-and-swap that lost (10071): something newer is stored, and ours is not."""


class StoreRefused(BusError):
    """The store is there and did not take it: full, out of resources, or misconfigured.

    Nothing was stored. ``code`` is the server's own number (10047: storage is full).
    """

    def __init__(self, cause: str, *, about: str = "", code: int = 0) -> None:
        super().__init__(cause, about=about)
        self.code = code


class Electing(BusError):
    """JetStream has no leader at this moment; nothing was done, ask again."""


class StoreUnavailable(BusError):
    """The store is away, without a leader, or did not answer in time.

    After this a write MAY have landed: ask with ``last`` or repeat it with the same expectation
    (a ``Conflict`` then may be one's own first write).
    """


class StoreWentBack(BusError):
    """The stream ends before a sequence that was already read: it lost or replaced its data."""
