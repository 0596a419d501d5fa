"""By what a coordinator is known to NATS: which settings go together, and what is written."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from common.lifecycle import StartupError
from coordinator.callout.signing_key import new_seed
from coordinator.nats_access import NatsAccess, _hosts, nats_access
from coordinator.nats_secrets.authority import Authority, Pair
from coordinator.nats_secrets.store import NatsSecrets, SecretStore
from coordinator.settings import CoordinatorSettings


def settings(folder: Path, **more: str) -> CoordinatorSettings:
    """Of a coordinator with a NATS of others'."""
    own = {"IPS_DATA_DIR": str(folder), "IPS_NATS_URL": "tls://nats.example.com:4222"}
    return CoordinatorSettings.load({**own, **more})


def secrets(authority: Authority) -> NatsSecrets:
    """As they are found."""
    pair = authority.issue(["ips-nats"], datetime.now(UTC))
    return NatsSecrets("t0ken", new_seed(), pair, authority.pair.certificate)


class OneLook:
    """Secrets that are looked at once, and then no more."""

    def __init__(self, found: NatsSecrets) -> None:
        self._found = [found]

    async def looked_at(self) -> NatsSecrets | None:
        """What was renewed."""
        if not self._found:
            raise InterruptedError
        return self._found.pop()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"IPS_NATS_CALLOUT_SECRET": "a"}, "go with IPS_NATS_TOKEN_SECRET"),
        ({"IPS_NATS_CA_SECRET": "a"}, "go with IPS_NATS_TOKEN_SECRET"),
        (
            {"IPS_NATS_CALLOUT_SECRET": "a", "IPS_NATS_TOKEN_SECRET": "b", "IPS_NATS_TOKEN": "c"},
            "go with IPS_NATS_TOKEN_SECRET",
        ),
        (
            {"IPS_NATS_CA_SECRET": "a", "IPS_NATS_TOKEN_SECRET": "b"},
            "goes with IPS_NATS_CALLOUT_SECRET",
        ),
    ],
)
async def test_secrets_that_need_another_one_say_so(
    tmp_path: Path, more: Mapping[str, str], why: str
) -> None:
    """At the start, by name."""
    with pytest.raises(StartupError, match=why):
        await nats_access(settings(tmp_path, **more), lambda _: None)


async def test_without_secrets_it_is_what_the_settings_say(tmp_path: Path) -> None:
    """A token and whom to trust; a NATS of others' asks nobody."""
    ca = tmp_path / "ca.crt"
    given = settings(tmp_path, IPS_NATS_TOKEN="t", IPS_NATS_CA=str(ca))
    access = await nats_access(given, lambda _: None)
    assert (access.token, access.key, access.ca, access.certificate) == ("t", None, ca, None)


async def test_what_is_renewed_is_written_for_whoever_reads_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For this user's eyes alone; the token and the key of before stay until the next start."""
    monkeypatch.setattr("coordinator.nats_access.LOOK_SECONDS", 0.0)
    given = CoordinatorSettings.load({"IPS_DATA_DIR": str(tmp_path)})  # with a NATS of its own
    access, authority = NatsAccess(given, None), Authority.new(datetime.now(UTC))
    first, second = secrets(authority), secrets(authority)
    access.take(cast("SecretStore", OneLook(second)), first)
    assert access.ca is not None
    assert access.certificate is not None
    assert written(access) == (first.trusted, first.certificate)
    with pytest.raises(InterruptedError):
        await access.keep_up()
    assert written(access) == (second.trusted, second.certificate)
    assert access.token == "t0ken"
    for file in (access.ca, *access.certificate):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_servers_key_is_in_no_file_where_the_servers_are_others(tmp_path: Path) -> None:
    """Whom to trust is."""
    access, found = NatsAccess(settings(tmp_path), None), secrets(Authority.new(datetime.now(UTC)))
    access.take(cast("SecretStore", OneLook(found)), found)
    assert access.certificate is None
    assert access.ca is not None
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [access.ca]


def written(access: NatsAccess) -> tuple[Any, ...]:
    """What the files hold."""
    assert access.ca is not None
    assert access.certificate is not None
    return access.ca.read_text(), Pair(*(file.read_text() for file in access.certificate))


def test_a_certificate_is_for_every_name_by_which_nats_is_reached(tmp_path: Path) -> None:
    """Its Service's, its servers' among themselves, this machine's, and that of the settings."""
    given = settings(tmp_path, K8S_NAMESPACE="tools")
    assert _hosts(given, "b-ips-nats") == (
        "b-ips-nats",
        "b-ips-nats.tools",
        "b-ips-nats.tools.svc",
        "*.b-ips-nats-peers",
        "*.b-ips-nats-peers.tools.svc",
        "localhost",
        "127.0.0.1",
        "::1",
        "nats.example.com",
    )
