"""npm's ``oidc-provider`` as a child: its clients, its keys, and what it gives to whom."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote_plus, urljoin, urlsplit

import aiohttp

from sandbox.child import Child
from sandbox.ports import free_port
from sandbox.programs import PROJECT
from tests.fixtures.issuer import as_jwk, new_key
from tests.fixtures.nats import eventually

PAGE: Final = "page"
"""A client without a secret, as a page is one."""
CONFIDENTIAL: Final = "confidential"
SECRET: Final = "100% of the tests: alone+"
"""Of the other clients; with letters that RFC 6749 wants written in another way."""
ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
OURS, OTHERS = "urn:ips", "urn:other"
"""Audiences that programs can ask for."""
GROUPS: Final = {"ann": ["ops"], "bob": ["viewers"], "robot-ES256": ["ops", "night"]}


def new_keys(name: str) -> list[dict[str, Any]]:
    """One for each algorithm, whose names begin so."""
    return [as_jwk(f"{name}-{each}", each, new_key(each)) for each in ALGORITHMS]


class Provider(Child):
    """A provider on loopback; it keeps its address over restarts and forgets who has logged in."""

    def __init__(self, folder: Path, redirect: str) -> None:
        """``redirect``: where its clients send browsers back to."""
        made = subprocess.run(
            [PROJECT / "scripts/fetch-oidc-provider"], check=True, capture_output=True, text=True
        ).stdout.strip()
        self.url = f"http://127.0.0.1:{free_port()}"
        self._wanted = folder / "wanted.json"
        self._redirect = redirect
        self._starts = 0
        program = Path(__file__).with_name("provider.mjs")
        super().__init__(
            [f"{made}/node", program, self._wanted, f"{made}/provider"], folder / "provider.log"
        )

    async def sign_with(
        self, keys: Sequence[Mapping[str, Any]], *, slow_seconds: float = 0.0
    ) -> None:
        """Start it, or start it anew, with these keys; the first of a kind signs."""
        await self.kill()
        wanted = {
            "issuer": self.url,
            "keys": keys,
            "slowSeconds": slow_seconds,
            "groups": GROUPS,
            "clients": self._clients(),
        }
        self._wanted.write_text(json.dumps(wanted))
        self.start()
        self._starts += 1
        await eventually(lambda: self.pid is None or self.log.count("listening") == self._starts)
        assert self.pid is not None, self.log

    def _clients(self) -> list[dict[str, Any]]:
        login = {
            "redirect_uris": [self._redirect],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
            "id_token_signed_response_alg": "ES256",
        }
        robots = [
            {
                "client_id": f"robot-{algorithm}",
                "client_secret": SECRET,
                "redirect_uris": [],
                "response_types": [],
                "grant_types": ["client_credentials"],
                "id_token_signed_response_alg": algorithm,
            }
            for algorithm in ALGORITHMS
        ]
        return [
            {"client_id": PAGE, "token_endpoint_auth_method": "none", **login},
            {"client_id": CONFIDENTIAL, "client_secret": SECRET, **login},
            *robots,
        ]

    async def token_of(self, algorithm: str = "ES256", audience: str = OURS) -> str:
        """The token that a program gets for itself, signed in this way."""
        proof = aiohttp.encode_basic_auth(f"robot-{algorithm}", quote_plus(SECRET))
        async with (
            aiohttp.ClientSession(headers={"Authorization": proof}) as http,
            http.post(
                f"{self.url}/token",
                data={"grant_type": "client_credentials", "resource": audience, "scope": "use"},
            ) as answer,
        ):
            answer.raise_for_status()
            return str((await answer.json())["access_token"])

    async def log_in(self, address: str, name: str) -> str:
        """Go where a browser is sent, say a name there; the code that is brought back."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            async with browser.get(address) as form:
                assert form.status == HTTPStatus.OK, await form.text()
            here, said = (
                str(form.url),
                browser.post(form.url, data={"name": name}, allow_redirects=False),
            )
            while True:
                async with said as answer:
                    there = urljoin(here, answer.headers["Location"])
                if there.startswith(self._redirect):
                    return parse_qs(urlsplit(there).query)["code"][0]
                here, said = there, browser.get(there, allow_redirects=False)
