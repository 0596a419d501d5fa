"""Who is asked about which token, and for how long an answer is good."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from cryptography.fernet import Fernet

from common.text import Text
from coordinator.access.callers import (
    ANYBODY,
    AuthorityAwayError,
    Caller,
    Permission,
    Resource,
    Right,
    UnknownCredentialError,
    Verb,
    Way,
)
from coordinator.access.gatekeeper import Authorities, Credential, Gatekeeper
from coordinator.access.oidc import Issuer
from coordinator.access.roles import Role
from coordinator.access.sealing import Seal
from coordinator.access.token_file import TokenFile, line, new_token
from sandbox.virtual.time import in_virtual_time
from tests.access.hand_clock import HandClock

WATCH = Permission(Verb.WATCH, Resource.TASKS)
KEY = Fernet.generate_key()


class FakeKubernetes:
    """Knows some tokens, counts its reviews, and can be away."""

    def __init__(self, **users: str) -> None:
        self.users = users
        self.allowed = True
        self.away = False
        self.asked: list[str] = []

    async def identify(self, token: str) -> Caller:
        """Whose token it is."""
        self._ask("token")
        if token not in self.users:
            raise UnknownCredentialError
        return Caller(user=self.users[token], way=Way.KUBERNETES)

    async def may(self, caller: Caller, right: Right) -> bool:
        """Whatever the test says."""
        self._ask(f"{caller.user} {right.verb if isinstance(right, Permission) else right}")
        return self.allowed

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise AuthorityAwayError(Text("away"))


def keeper(authorities: Authorities, times: HandClock | None = None) -> Gatekeeper:
    """A gatekeeper with sessions of an hour."""
    times = times or HandClock(1e9)
    seal = Seal(lambda: [KEY], times)
    return Gatekeeper(authorities, seal, clock=times, wall=times, session_seconds=3600.0)


@pytest.fixture
def token() -> str:
    """A token of the file."""
    return new_token()


@pytest.fixture
def tokens(tmp_path: Path, token: str) -> TokenFile:
    """A file with one token, of a viewer."""
    path = tmp_path / "tokens"
    path.write_text(line(token, "ann", ("viewers",)))
    return TokenFile(path)


async def test_where_nobody_is_asked_everybody_may_do_everything() -> None:
    """As ``none`` says; a token is not even looked at."""
    open_to_all = keeper(Authorities())
    for credential in (None, Credential("x"), Credential("x", is_session=True)):
        assert await open_to_all.identify(credential) is ANYBODY
    assert await open_to_all.may(ANYBODY, WATCH)


async def test_a_token_goes_to_one_authority(tokens: TokenFile, token: str) -> None:
    """The file's own tokens are never shown to Kubernetes."""
    kubernetes = FakeKubernetes(kube="bob")
    kept = keeper(Authorities(tokens=tokens, kubernetes=kubernetes, groups={"viewers": Role.VIEW}))
    ann = await kept.identify(Credential(token))
    assert (ann.user, await kept.may(ann, WATCH)) == ("ann", True)
    assert not await kept.may(ann, Permission(Verb.CREATE, Resource.TASKS))
    assert kubernetes.asked == []
    bob = await kept.identify(Credential("kube"))
    assert (bob.user, await kept.may(bob, WATCH)) == ("bob", True)
    assert kubernetes.asked == ["token", "bob watch"]
    with pytest.raises(UnknownCredentialError):
        await kept.identify(Credential("nobody's"))
    for empty in (None, Credential(""), Credential("x" * 20_000)):
        with pytest.raises(UnknownCredentialError):
            await kept.identify(empty)
    assert kubernetes.asked == ["token", "bob watch", "token"]


async def test_what_kubernetes_says_is_good_for_half_a_minute() -> None:
    """A refusal for five seconds, and what it could not say not at all."""
    kubernetes, times = FakeKubernetes(kube="bob"), HandClock(1e9)
    kept = keeper(Authorities(kubernetes=kubernetes), times)
    bob = await kept.identify(Credential("kube"))
    kubernetes.users.clear()  # his pod is gone
    times.now += 29.9
    assert await kept.identify(Credential("kube")) == bob
    times.now += 0.1
    with pytest.raises(UnknownCredentialError):
        await kept.identify(Credential("kube"))
    kubernetes.users["kube"] = "bob"
    times.now += 4.9
    with pytest.raises(UnknownCredentialError):
        await kept.identify(Credential("kube"))
    times.now += 0.1
    kubernetes.away = True
    with pytest.raises(AuthorityAwayError):
        await kept.identify(Credential("kube"))
    kubernetes.away = False
    assert await kept.identify(Credential("kube")) == bob

    assert await kept.may(bob, WATCH)
    kubernetes.allowed = False
    assert await kept.may(bob, WATCH)
    assert not await kept.may(bob, Permission(Verb.CREATE, Resource.TASKS))
    times.now += 30.0
    assert not await kept.may(bob, WATCH)


async def test_a_session_ends_with_its_token(tokens: TokenFile, token: str, tmp_path: Path) -> None:
    """It holds the token, so that a token which is taken out takes its sessions along."""
    times = HandClock(1e9)
    kept = keeper(Authorities(tokens=tokens), times)
    caller, sealed = await kept.session_of(token)
    assert caller.user == "ann"
    session = Credential(sealed, is_session=True)
    assert (await kept.identify(session)).until == times.now + 3600
    times.now += 3600
    with pytest.raises(UnknownCredentialError):
        await kept.identify(session)
    _, sealed = await kept.session_of(token)
    (tmp_path / "tokens").write_text("# nobody any more\n")
    with pytest.raises(UnknownCredentialError):
        await kept.identify(Credential(sealed, is_session=True))
    with pytest.raises(UnknownCredentialError):
        await kept.session_of(token)


async def test_a_session_by_a_way_that_was_taken_out_is_over(tokens: TokenFile) -> None:
    """Whoever an issuer has named is nobody where no issuer is asked any more."""
    kept = keeper(Authorities(tokens=tokens))
    sealed = kept.session_for(Caller(user="ann", groups=("viewers",), way=Way.OIDC))
    for value, is_session in ((sealed, True), (sealed, False), ("x", True)):
        with pytest.raises(UnknownCredentialError):
            await kept.identify(Credential(value, is_session=is_session))


def test_what_goes_on_for_long_ends_with_its_credential() -> None:
    """When it is taken away, when its time is over; not while nobody can be asked."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        kubernetes = FakeKubernetes(kube="bob")
        kept = Gatekeeper(
            Authorities(kubernetes=kubernetes),
            Seal(lambda: [KEY], loop.time),
            clock=loop.time,
            wall=loop.time,
            session_seconds=100.0,
        )
        holds = asyncio.create_task(kept.until_it_ends(Credential("kube"), WATCH))
        await asyncio.sleep(300)
        kubernetes.away = True
        await asyncio.sleep(300)
        kubernetes.away = False
        assert not holds.done()
        kubernetes.users.clear()
        began = loop.time()
        await holds
        assert loop.time() - began <= 45

        kubernetes.users["kube"] = "bob"
        await asyncio.sleep(10)
        began = loop.time()
        kubernetes.allowed = True
        _, sealed = await kept.session_of("kube")
        await kept.until_it_ends(Credential(sealed, is_session=True), WATCH)
        assert loop.time() - began == pytest.approx(100, abs=0.01)

        kubernetes.allowed = False
        await asyncio.sleep(31)
        began = loop.time()
        await kept.until_it_ends(Credential("kube"), WATCH)
        assert loop.time() == began

    in_virtual_time(story())


async def test_whoever_left_the_file_may_no_more(tmp_path: Path) -> None:
    """A user of the file is asked about as the file is by then, and not as they once were."""
    path = tmp_path / "file"
    path.write_text(
        f"{line(new_token(), 'ann', ('old',))}\n{line(new_token(), 'ann', ('admins',))}"
    )
    groups = {"admins": Role.ADMIN}
    keep = keeper(Authorities(tokens=TokenFile(path), groups=groups))
    use = Permission(Verb.USE, Resource.CREDENTIALS)
    assert await keep.may_still(Caller(user="ann", groups=("old",), way=Way.TOKENS), use)
    assert not await keep.may_still(Caller(user="bob", groups=("admins",), way=Way.TOKENS), use)
    assert not await keep.may_still(Caller(user=""), use)
    eve = Caller(user="eve", groups=("admins",), way=Way.OIDC)
    assert not await keep.may_still(eve, use)  # nobody vouches for her groups any more
    issuer = cast(Issuer, object())  # nobody asks it anything here
    assert await keeper(Authorities(issuer=issuer, groups=groups)).may_still(eve, use)
    assert await keeper(Authorities()).may_still(Caller(user=""), use)
