from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from common.bus import KeyValue
from common.subjects import KEYS_BUCKET
from coordinator.access.sealing import Seal, TokenSession
from coordinator.access.session_keys import (
    KEY,
    RIPE_SECONDS,
    ROTATE_SECONDS,
    StoredKeys,
    keys_of_file,
)
from tests.access.hand_clock import HandClock
from tests.engine.following import connected

KINDS = (TokenSession,)


async def test_what_one_replica_seals_another_opens() -> None:
    """Whichever comes first makes the key, and only that one counts."""
    clock = HandClock(1e9)
    async with connected() as bus:
        kept = KeyValue(bus, KEYS_BUCKET)
        first, second = StoredKeys(clock), StoredKeys(clock)
        assert first() == []
        await first.look(kept)
        await second.look(kept)
        sealed = Seal(first, clock).seal(TokenSession(token="t", until=2e9))
        assert Seal(second, clock).open(sealed, KINDS) is not None


async def test_a_new_key_opens_before_it_seals() -> None:
    """So that a replica which has not looked since opens all the same; two are kept."""
    clock = HandClock(1e9)
    session = TokenSession(token="t", until=9e9)
    async with connected() as bus:
        kept = KeyValue(bus, KEYS_BUCKET)
        here, there = StoredKeys(clock), StoredKeys(clock)
        await here.look(kept)
        await there.look(kept)
        [old] = here()
        clock.now += ROTATE_SECONDS + 1
        await here.look(kept)
        assert len(here()) == 2
        assert here()[0] == old
        sealed = Seal(here, clock).seal(session)
        assert Seal(there, clock).open(sealed, KINDS) == session
        clock.now += RIPE_SECONDS + 1
        await there.look(kept)
        assert here() == there()
        assert here()[0] != old
        assert Seal(here, clock).open(sealed, KINDS) == session
        clock.now += ROTATE_SECONDS + 1
        await here.look(kept)
        assert len(here()) == 2
        assert old not in here()


async def test_two_that_make_a_key_at_once_agree() -> None:
    """Who loses the swap takes the other's at the next look."""
    clock = HandClock(1e9)
    async with connected() as bus:
        kept = KeyValue(bus, KEYS_BUCKET)

        class Late:
            """A bucket in which somebody is faster."""

            get, update = kept.get, kept.update

            async def create(self, key: str, value: bytes) -> int:
                """Write after another."""
                await other.look(kept)
                return await kept.create(key, value)

        loser, other = StoredKeys(clock), StoredKeys(clock)
        await loser.look(Late())
        assert loser() == []
        await loser.look(kept)
        assert loser() == other() != []


async def test_keys_that_cannot_be_read_are_made_anew() -> None:
    """Sessions are over then, and nothing else is."""
    for bad in (b"x", b"{}", b'{"keys": [{"key": "%s", "madeAt": 1}]}' % (b"!" * 44)):
        async with connected() as bus:
            kept = KeyValue(bus, KEYS_BUCKET)
            await kept.create(KEY, bad)
            keys = StoredKeys(HandClock(1e9))
            await keys.look(kept)
            assert len(keys()) == 1


def test_keys_from_a_file(tmp_path: Path) -> None:
    """One a line, the first one seals; what is none is named by its line alone."""
    path, keys = tmp_path / "keys", [Fernet.generate_key(), Fernet.generate_key()]
    path.write_bytes(b"\n".join(keys) + b"\n\n")
    assert keys_of_file(path) == keys
    path.write_bytes(keys[0] + b"\nhunter2\n")
    with pytest.raises(ValueError, match="line 2 is no key") as refused:
        keys_of_file(path)
    assert "hunter2" not in str(refused.value)
    path.write_bytes(b"\n")
    with pytest.raises(ValueError, match="empty"):
        keys_of_file(path)
