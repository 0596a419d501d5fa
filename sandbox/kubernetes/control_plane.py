"""etcd and a real kube-apiserver: on loopback, as envtest runs them, or at the head of a cluster.

On loopback they are alone: without a controller-manager no ServiceAccount appears by itself,
nothing is collected, and no workload makes pods. Tokens for ServiceAccounts are to be had by
TokenRequest all the same.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from sandbox.certificates import self_signed
from sandbox.child import Child
from sandbox.kubernetes.kubeconfig import Access
from sandbox.kubernetes.machines import Loopback, Place
from sandbox.kubernetes.networks import API_SERVICE, SERVICES
from sandbox.kubernetes.parts import find

START_SECONDS: Final = 120.0
_PROBE_SECONDS: Final = 0.05
ALONE: Final = (
    # With an address on loopback the start fails otherwise.
    "--endpoint-reconciler-type=none",
    # Nobody would make the ServiceAccount that pods get, nor take finalizers off.
    "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection",
)
"""Options of an API server without controllers."""


class ControlPlaneError(Exception):
    """A part did not start; the text holds the end of what it said."""


class ControlPlane:
    """One etcd and one API server in a folder, on ports that they keep over all their restarts."""

    def __init__(
        self, folder: Path, place: Place | None = None, options: Sequence[str] = ALONE
    ) -> None:
        self.folder = folder
        self.place = place or Loopback()
        self.etcd_url = self._url("http", 2379)
        self.certificate = self_signed(folder, (self.place.address, API_SERVICE))
        self.access = Access(self._url("https", 6443), self.certificate.certificate)
        self.service_account_key = folder / "service-accounts.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", self.service_account_key, "2048"],
            check=True,
            capture_output=True,
        )
        self._tokens = folder / "tokens.csv"
        self.admin_token = self._add_token("admin", "system:masters")
        self.admin_config = self._config("admin", self.admin_token)
        self.etcd = Child(self.place.inside(self._etcd_command()), folder / "etcd.log")
        self.api_server = Child(
            self.place.inside([*self._api_server_command(), *options]),
            folder / "kube-apiserver.log",
        )

    def _url(self, scheme: str, usual_port: int) -> str:
        return f"{scheme}://{self.place.address}:{self.place.port(usual_port)}"

    def add_user(self, name: str, *groups: str) -> Path:
        """Let somebody in from the next start on; a kubeconfig of theirs."""
        return self._config(name, self._add_token(name, *groups))

    def _config(self, name: str, token: str) -> Path:
        file = self.folder / f"{name.replace(':', '-')}.kubeconfig"
        return self.access.kubeconfig(file, {"token": token})

    def _add_token(self, name: str, *groups: str) -> str:
        token = secrets.token_hex(16)
        with self._tokens.open("a") as file:
            file.write(f'{token},{name},{name},"{",".join(groups)}"\n')
        return token

    def _etcd_command(self) -> list[str | Path]:
        peers = self._url("http", 2380)
        return [
            find("etcd"),
            "--unsafe-no-fsync",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]

    def _api_server_command(self) -> list[str | Path]:
        key = self.service_account_key
        return [
            find("kube-apiserver"),
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={self.place.address}",
            f"--advertise-address={self.place.address}",
            f"--secure-port={self.access.url.rpartition(':')[2]}",
            f"--tls-cert-file={self.certificate.certificate}",
            f"--tls-private-key-file={self.certificate.key}",
            f"--service-account-issuer={self.access.url}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self._tokens}",
            f"--service-cluster-ip-range={SERVICES}",
        ]

    async def start(self) -> None:
        """Start both and wait until the API is ready. Raises ControlPlaneError."""
        self.etcd.start()
        self.api_server.start()
        await self.ready()

    async def ready(self) -> None:
        """Wait until the API is ready. Raises ControlPlaneError."""
        try:
            async with asyncio.timeout(START_SECONDS), self.client() as http:
                while not await _is_ready(http, f"{self.access.url}/readyz"):
                    for part in (self.etcd, self.api_server):
                        if part.pid is None:
                            raise ControlPlaneError(part.log[-2000:])
                    await asyncio.sleep(_PROBE_SECONDS)
        except TimeoutError:
            raise ControlPlaneError(self.api_server.log[-2000:]) from None

    async def compact(self) -> None:
        """Drop etcd's history: versions of the past can be asked for no longer."""
        connector = aiohttp.TCPConnector(socket_factory=self.place.socket)
        async with aiohttp.ClientSession(
            self.etcd_url, connector=connector, raise_for_status=True
        ) as http:
            async with http.post("/v3/kv/range", json={"key": "AA=="}) as answer:
                revision = (await answer.json())["header"]["revision"]
            async with http.post("/v3/kv/compaction", json={"revision": revision}):
                pass

    def client(self, token: str | None = None) -> aiohttp.ClientSession:
        """Open a session of the admin's, or of whoever has the token."""
        context = ssl.create_default_context(cafile=str(self.access.authority))
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=32, socket_factory=self.place.socket),
            headers={"Authorization": f"Bearer {token or self.admin_token}"},
        )

    async def kill(self) -> None:
        """End both at once."""
        await self.api_server.kill()
        await self.etcd.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()


async def _is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False
