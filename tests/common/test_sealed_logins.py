"""Credentials on their way to an agent: nobody else opens them, and no text shows them."""

from __future__ import annotations

import base64

import pytest
from nacl.public import PrivateKey

from common.sealed_logins import SealedLogins, ShownLogin, open_logins, seal_logins, work_of

pytestmark = pytest.mark.pure

KEY = PrivateKey(bytes(range(32)))
PUBLIC = base64.b64encode(bytes(KEY.public_key)).decode()
LOW_ORDER = base64.b64encode(bytes(32)).decode()
"""A point from which everybody would know the secret: libsodium seals for no such key."""
CONTENT = SealedLogins(
    task="task-20260101-000000-00000001",
    attempt=1,
    work=work_of(["r.test/a:1"]),
    logins=[
        ShownLogin(registry="r.test", username="ci", password="s3cret", identity_token="t0ken")
    ],
)


def test_only_the_key_opens_it() -> None:
    """And each time it looks another way."""
    sealed = seal_logins(CONTENT, PUBLIC)
    assert open_logins(sealed, KEY) == CONTENT
    assert sealed != seal_logins(CONTENT, PUBLIC)
    with pytest.raises(ValueError, match="cannot be opened"):
        open_logins(sealed, PrivateKey(bytes(32)))


@pytest.mark.parametrize(
    "sealed", ["", "s3cret", "czNjcmV0", "\u00e9", base64.b64encode(bytes(100)).decode()]
)
def test_what_was_not_sealed(sealed: str) -> None:
    """The error repeats nothing."""
    with pytest.raises(ValueError, match="cannot be opened") as caught:
        open_logins(sealed, KEY)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["", "short", base64.b64encode(bytes(31)).decode(), "\u00e9", "=" * 44, LOW_ORDER]
)
def test_what_is_no_key(key: str) -> None:
    """Whatever a heartbeat says."""
    with pytest.raises(ValueError, match=r".*"):
        seal_logins(CONTENT, key)


def test_no_text_shows_a_secret() -> None:
    """A log line may hold the whole message."""
    for text in (repr(CONTENT), str(CONTENT), repr(CONTENT.logins)):
        assert "s3cret" not in text
        assert "t0ken" not in text
