"""What a coordinator reads of the Secrets of NATS and writes, at a start and while it runs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from common.text import Text
from coordinator.nats_secrets.authority import Authority
from coordinator.nats_secrets.store import NatsSecrets, SecretNames, SecretStore
from tests.callout.secrets_api import SecretsInMemory

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NAMES = SecretNames("ips-nats", "ips-nats-keys", "ips-nats-ca")
MANIFESTS = ("ips-nats-keys", "ips-nats-ca")
"""What an apply makes, empty."""
RESTART = "kubectl -n ips-system delete pod -l app.kubernetes.io/name=ips-nats"


class World:
    """An API server, and coordinators at it."""

    def __init__(self) -> None:
        self.api = SecretsInMemory()
        self.now = NOW
        for name in MANIFESTS:
            self.api.put(name, {})

    def store(self, *, writes: bool = True) -> SecretStore:
        """Of one coordinator, or of a program beside it."""
        hosts = ("ips-nats", "127.0.0.1")
        return SecretStore(
            NAMES, "ips-system", self.api.connected, hosts, lambda: self.now, writes=writes
        )

    async def started(self, store: SecretStore) -> NatsSecrets:
        """What it is started with; it must not have to wait."""

        def say(text: Text) -> None:
            raise AssertionError(text.message)

        found = await store.awaited(say)
        self.api.writes.clear()
        return found

    def held(self, name: str, key: str) -> str:
        """What a Secret holds."""
        return base64.b64decode(self.api.kept[name]["data"][key]).decode()


Lose = Callable[[World], str]


@pytest.fixture
def world() -> World:
    """As an apply leaves it."""
    return World()


def told(caplog: pytest.LogCaptureFixture, level: str) -> str:
    """Everything that was logged at a level, fields included."""
    return "\n".join(str(vars(each)) for each in caplog.records if each.levelname == level)


def emptied(world: World) -> str:
    """As ``kubectl replace`` and the documented patch leave it."""
    world.api.put("ips-nats-keys", {})
    return "ips-nats-keys"


def deleted(world: World) -> str:
    """As ``kubectl delete -k`` leaves it."""
    del world.api.kept["ips-nats-keys"]
    return "ips-nats-keys"


def without_authority(world: World) -> str:
    """The key is there, who signs is not."""
    key = world.held("ips-nats-keys", "callout-key")
    world.api.put("ips-nats-keys", {"callout-key": key})
    return "ips-nats-keys"


def another_authority(world: World) -> str:
    """An admin's own, put there under a coordinator that runs."""
    key = world.held("ips-nats-keys", "callout-key")
    pair = Authority.new(NOW).pair
    mine = {"callout-key": key, "ca.crt": pair.certificate, "ca.key": pair.key}
    world.api.put("ips-nats-keys", mine)
    return "ips-nats-keys"


def servers_deleted(world: World) -> str:
    """The servers that run know the token that is gone."""
    del world.api.kept["ips-nats"]
    return "ips-nats"


@pytest.mark.parametrize(
    "lose", [emptied, deleted, without_authority, another_authority, servers_deleted]
)
async def test_what_servers_were_started_with_is_never_made_anew_under_them(
    world: World, lose: Lose, caplog: pytest.LogCaptureFixture
) -> None:
    """A look renews; what is lost it leaves alone, and says which Secret and what to do."""
    store = world.store()
    await world.started(store)
    secret = lose(world)
    before = dict(world.api.kept)
    world.now = NOW + timedelta(days=70)  # a certificate is due
    assert await store.looked_at() is None
    assert world.api.writes == []
    assert world.api.kept == before
    said = told(caplog, "ERROR")
    assert f"ips-system/{secret}" in said
    assert RESTART in said


async def test_a_coordinator_that_runs_does_not_take_the_keys_of_one_that_was_restarted(
    world: World,
) -> None:
    """NATS that runs was started with the former ones."""
    running = world.store()
    await world.started(running)
    emptied(world)
    await world.started(world.store())
    assert await running.looked_at() is None
    assert world.api.writes == []


async def test_a_program_beside_a_coordinator_reads_and_makes_nothing(world: World) -> None:
    """One that makes join tokens: by keys of its own they would be nobody's."""
    assert await world.store(writes=False).looked_at() is None
    assert world.api.writes == []
    found = await world.started(world.store())
    world.now = NOW + timedelta(days=70)  # a certificate is due
    read = await world.store(writes=False).looked_at()
    assert read is not None
    assert (read.seed, read.token, read.trusted) == (found.seed, found.token, found.trusted)
    emptied(world)
    assert await world.store(writes=False).looked_at() is None
    assert world.api.writes == []


async def test_a_look_renews_a_certificate_that_ends_and_restores_whom_agents_trust(
    world: World,
) -> None:
    """Both by what this coordinator was started with."""
    store = world.store()
    first = await world.started(store)
    del world.api.kept["ips-nats-ca"]
    world.now = NOW + timedelta(days=70)
    renewed = await store.looked_at()
    assert renewed is not None
    assert renewed._replace(certificate=first.certificate) == first
    assert world.api.writes == ["ips-nats", "ips-nats-ca"]
    assert world.held("ips-nats-ca", "ca.crt").strip() == (first.trusted or "").strip()


@pytest.mark.parametrize("lose", [emptied, without_authority])
async def test_new_keys_beside_servers_of_former_ones_are_told_of_loudly(
    world: World, lose: Lose, caplog: pytest.LogCaptureFixture
) -> None:
    """They are made all the same: there are no others. A first start tells of nothing."""
    first = await world.started(world.store())
    assert told(caplog, "ERROR") == ""
    lose(world)
    second = await world.started(world.store())
    assert second.trusted != first.trusted
    assert RESTART in told(caplog, "ERROR")
    caplog.clear()
    assert await world.started(world.store()) == second
    assert told(caplog, "ERROR") == ""


async def test_who_comes_second_reads_all_again(world: World) -> None:
    """Servers get no certificate of an authority that somebody has replaced meanwhile."""
    await world.started(world.store())
    del world.api.kept["ips-nats"]

    def others_start_anew() -> None:
        emptied(world)
        world.api.put("ips-nats", {"token": "theirs"})

    world.api.before_write = others_start_anew
    found = await world.started(world.store())
    assert found.token == "theirs"
    assert found.seed == world.held("ips-nats-keys", "callout-key")
    assert found.trusted == world.held("ips-nats-keys", "ca.crt")


async def test_a_secret_of_another_type_is_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Kubernetes fills one with the token of a ServiceAccount, which is nobody's to hand out."""
    token = "kubernetes.io/service-account-token"
    world.api.put("ips-nats", {"token": "of-an-account"}, kind=token)
    assert await world.store().looked_at() is None
    assert world.held("ips-nats", "token") == "of-an-account"
    assert "ips-nats" not in world.api.writes
    assert token in told(caplog, "WARNING")


async def test_an_authority_of_the_same_key_is_no_news_to_servers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """They trust what it signs."""
    store = world.store()
    first = await world.started(store)
    world.now = NOW + timedelta(days=3650 - 700)
    second = await world.started(store)
    assert second.trusted != first.trusted
    assert told(caplog, "ERROR") == ""
