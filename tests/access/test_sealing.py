from __future__ import annotations

import base64

import pytest
from cryptography.fernet import Fernet

from coordinator.access.callers import Way
from coordinator.access.sealing import (
    COOKIE_CHARACTERS,
    CallerSession,
    Login,
    NoKeysError,
    Seal,
    TokenSession,
    TooLargeError,
)

SESSION = TokenSession(token="s3cret-token", until=1000.0)
LOGIN = Login(state="s", nonce="n", verifier="v", place="#/tasks", until=600.0)
PERSON = CallerSession(user="ann", groups=("ops",), way=Way.OIDC, until=1000.0)
KINDS = (TokenSession, CallerSession)


def seal(*keys: bytes, now: float = 0.0) -> Seal:
    """A seal with these keys, at a time."""
    return Seal(lambda: keys, lambda: now)


def test_what_is_sealed_is_neither_read_nor_changed() -> None:
    """By nobody without the key."""
    key = Fernet.generate_key()
    sealed = seal(key).seal(SESSION)
    assert "s3cret" not in sealed
    assert seal(key).open(sealed, KINDS) == SESSION
    assert seal(Fernet.generate_key()).open(sealed, KINDS) is None
    raw = base64.urlsafe_b64decode(sealed)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        assert seal(key).open(base64.urlsafe_b64encode(changed).decode(), KINDS) is None


def test_each_kind_is_taken_for_itself_alone() -> None:
    """What a login keeps is no session."""
    key = Fernet.generate_key()
    assert seal(key).open(seal(key).seal(LOGIN), KINDS) is None
    assert seal(key).open(seal(key).seal(SESSION), Login) is None
    assert seal(key).open(seal(key).seal(PERSON), KINDS) == PERSON


def test_it_ends() -> None:
    """At its time, whatever the browser keeps."""
    key = Fernet.generate_key()
    sealed = seal(key).seal(LOGIN)
    assert seal(key, now=599.9).open(sealed, Login) == LOGIN
    assert seal(key, now=600.0).open(sealed, Login) is None


def test_another_key_may_come_first() -> None:
    """What the last one sealed is still opened, until that goes too."""
    old, new = Fernet.generate_key(), Fernet.generate_key()
    sealed = seal(old).seal(SESSION)
    assert seal(new, old).open(sealed, KINDS) == SESSION
    assert seal(new).open(sealed, KINDS) is None
    assert seal(new).open(seal(new, old).seal(SESSION), KINDS) == SESSION


def test_without_keys_nothing_is_sealed() -> None:
    """Until they were read."""
    with pytest.raises(NoKeysError):
        seal().seal(SESSION)
    with pytest.raises(NoKeysError):
        seal().open("x", KINDS)


def test_what_a_browser_would_not_keep_is_refused() -> None:
    """Rather than a login that does not last."""
    key = Fernet.generate_key()
    large = CallerSession(user="ann", groups=("g" * 200,) * 30, way=Way.OIDC, until=1.0)
    with pytest.raises(TooLargeError):
        seal(key).seal(large)
    assert seal(key).open("x" * (COOKIE_CHARACTERS + 1), KINDS) is None
    for nonsense in ("", "x", "é", "gAAAAA=="):
        assert seal(key).open(nonsense, KINDS) is None
