"""Entrances behind which callers have to say who they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cryptography.fernet import Fernet

from common.clock import elapsed
from coordinator.access.gatekeeper import Authorities, Gatekeeper
from coordinator.access.roles import Groups, Role
from coordinator.access.sealing import Seal
from coordinator.access.token_file import TokenFile, line
from coordinator.api.guard import Door, Entrance

KEY = Fernet.generate_key()
GROUPS: Groups = {"viewers": Role.VIEW, "ops": Role.EDIT, "admins": Role.ADMIN}
ORIGIN = "http://localhost:8080"


def token_of(user: str) -> str:
    """The token of somebody in a test."""
    return f"token-of-{user}-{'x' * 32}"


class People:
    """A file of tokens: who is in it, and in which group."""

    def __init__(self, folder: Path, **groups: str) -> None:
        self.path = folder / "tokens"
        self.groups = groups
        self._written = 0
        self._write()

    def remove(self, user: str) -> None:
        """Take somebody's token out."""
        del self.groups[user]
        self._write()

    def _write(self) -> None:
        lines = [line(token_of(user), user, (group,)) for user, group in self.groups.items()]
        self.path.write_text("\n".join(lines))
        self._written += 10**9
        os.utime(self.path, ns=(self._written, self._written))


def entrance(
    authorities: Authorities, *, door: Door | None = None, keys: tuple[bytes, ...] = (KEY,)
) -> Entrance:
    """An entrance to these authorities."""
    seal = Seal(lambda: keys, time.time)
    keeper = Gatekeeper(authorities, seal, clock=elapsed, wall=time.time)
    return Entrance(keeper, seal, door or Door(origin=ORIGIN))


def for_people(people: People, *, metrics: bool = False) -> Entrance:
    """An entrance for those in a file."""
    authorities = Authorities(tokens=TokenFile(people.path), groups=GROUPS)
    return entrance(authorities, door=Door(origin=ORIGIN, metrics=metrics))


def bearer(user: str) -> dict[str, str]:
    """The header that says who somebody is."""
    return {"Authorization": f"Bearer {token_of(user)}"}
