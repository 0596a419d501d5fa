"""Whatever is asked of the API is answered as its document says, and never with a fault of its own.

schemathesis makes the requests out of ``/openapi.json``: what it allows, and what it does not.
Streams are left out: a request to one does not end by itself.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from coordinator.access.token_file import hash_of, new_token
from sandbox.programs import PROJECT
from tests.fixtures.fleet import Fleet
from tests.fixtures.network import EnterNetwork
from tests.fuzz.conftest import REQUESTS, SEED

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(4 * 3600)]

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
STREAMS: Final = "/events$"
MOST_FRUITLESS: Final = 20
"""Runs that may add to the count before it is given up: each has another seed."""


class Guarded:
    """A coordinator that asks for tokens, with one node, a task and a set; who asks is an admin."""

    def __init__(self, fleet: Fleet, token: str) -> None:
        self.fleet = fleet
        self.token = token
        self.known: dict[str, str] = {}
        """What paths can name: their parameters' names, and values that there are."""

    async def begin(self) -> None:
        """Have something to ask for."""
        self.fleet.http.headers["Authorization"] = f"Bearer {self.token}"
        await self.fleet.add_agents(1, forked=False)
        task = await self.fleet.post(["redis:7"])
        body = {"images": ["nginx:1.27"]}
        async with self.fleet.http.put(f"{self.fleet.api}/sets/web", json=body) as answer:
            answer.raise_for_status()
        self.known = {"path.id": task, "path.name": "web"}

    async def works(self) -> None:
        """What was asked before has ended nothing: a new task runs to its end."""
        task = await self.fleet.post(["busybox:1.36"], priority=10)
        assert (await self.fleet.over(task))["status"] == "completed"


@pytest.fixture
async def guarded(enter_network: EnterNetwork, fleet: Fleet, tmp_path: Path) -> Guarded:
    """It runs where no made-up name of a webhook is looked up, and limits nobody's requests."""
    enter_network()
    token = new_token()
    (tmp_path / "tokens").write_text(f"{hash_of(token)} ann ips-admin\n")
    await fleet.add_coordinator(
        {
            "IPS_AUTH": "tokens",
            "IPS_AUTH_TOKENS": str(tmp_path / "tokens"),
            "IPS_REQUESTS_PER_MINUTE": "0",
            "IPS_FAILED_LOGINS_PER_MINUTE": "0",
            "IPS_MAX_PENDING_TASKS": "100000",
            "IPS_MAX_PENDING_PER_USER": "100000",
        },
        forked=False,
    )
    made = Guarded(fleet, token)
    await made.begin()
    return made


def program() -> str:
    """Where schemathesis is."""
    fetched = subprocess.run(
        [PROJECT / "scripts/fetch-schemathesis"], check=True, capture_output=True, text=True
    )
    return fetched.stdout.strip()


async def ask(guarded: Guarded, folder: Path, seed: int, known: dict[str, str], *more: str) -> int:
    """Let it ask once; how many requests that were. Fails with what it found."""
    report, config = folder / "report.json", folder / "schemathesis.toml"
    values = "".join(f'"{name}" = "{value}"\n' for name, value in known.items())
    config.write_text(f"[parameters]\n{values}")
    command = [
        *(program(), "--config-file", str(config), "run", f"{guarded.fleet.url}/openapi.json"),
        *("--seed", str(seed), "--checks", ",".join(CHECKS), "--exclude-path-regex", STREAMS),
        *("--phases", "examples,coverage,fuzzing", "--no-shrink", "--continue-on-failure"),
        *("--suppress-health-check", "all", "--request-timeout", "120", "--no-color"),
        *("--report", "json", "--report-json-path", str(report), "--warnings", "off"),
        *("--generation-database", "none", *more),
    ]
    asking = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said = (await asking.communicate())[0].decode()
    finally:
        if asking.returncode is None:
            asking.kill()
    assert asking.returncode == 0, said
    return asked(json.loads(report.read_text()))


def asked(report: dict[str, Any]) -> int:
    """The requests of a report."""
    return int(report["test_cases"]["generated"])


async def ask_until(
    count: int, guarded: Guarded, folder: Path, known: dict[str, str], *more: str
) -> None:
    """Let it ask so often at least, with one seed after another."""
    done = 0
    for seed in range(SEED, SEED + MOST_FRUITLESS):
        left = count - done
        if left <= 0:
            return
        each = str(max(left // 25, 1))  # of each of some 25 operations
        done += await ask(guarded, folder, seed, known, "--max-examples", each, *more)
    pytest.fail(f"only {done} of {count} requests were made")


async def test_nobody_without_a_token_gets_further(guarded: Guarded, tmp_path: Path) -> None:
    """And is answered as the document says."""
    await ask_until(REQUESTS // 5, guarded, tmp_path, {})
    async with (
        aiohttp.ClientSession() as nobody,
        nobody.get(f"{guarded.fleet.api}/tasks") as answer,
    ):
        assert answer.status == 401
    audit = await guarded.fleet.get("/audit?limit=1000")
    done = {(each["action"], each.get("user")) for each in audit["entries"] if each["status"] < 300}
    assert {action for action, user in done if user != "ann"} <= {"log out"}
    await guarded.works()


async def test_an_admin_asks_for_anything(guarded: Guarded, tmp_path: Path) -> None:
    """For what there is not, mostly."""
    head = ("--header", f"Authorization: Bearer {guarded.token}")
    await ask_until(REQUESTS * 2 // 5, guarded, tmp_path, {}, *head)
    await guarded.works()


async def test_an_admin_asks_for_what_there_is(guarded: Guarded, tmp_path: Path) -> None:
    """So that requests come past the look for what they name."""
    head = ("--header", f"Authorization: Bearer {guarded.token}")
    await ask_until(REQUESTS * 2 // 5, guarded, tmp_path, guarded.known, *head)
    await guarded.works()
