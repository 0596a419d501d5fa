"""etcd and a real kube-apiserver on loopback, as envtest runs them: an API without controllers.

There is no controller-manager: no ServiceAccount appears by itself, nothing is collected, and no
workload makes pods. Tokens for ServiceAccounts are to be had by TokenRequest all the same.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from sandbox.certificates import self_signed
from sandbox.child import Child
from sandbox.kubernetes.kubeconfig import Access
from sandbox.kubernetes.parts import find
from sandbox.programs import free_port

START_SECONDS: Final = 120.0
_PROBE_SECONDS: Final = 0.05


class ControlPlaneError(Exception):
    """A part did not start; the text holds the end of what it said."""


class ControlPlane:
    """One etcd and one API server in a folder, on ports that they keep over all their restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.admin_token = secrets.token_hex(16)
        self.etcd_url = f"http://127.0.0.1:{free_port()}"
        self._port = free_port()
        certificate = self_signed(folder)
        self.access = Access(f"https://127.0.0.1:{self._port}", certificate.certificate)
        self.admin_config = self.access.kubeconfig(
            folder / "admin.kubeconfig", {"token": self.admin_token}
        )
        self._key = folder / "service-accounts.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", self._key, "2048"], check=True, capture_output=True
        )
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{self.admin_token},admin,admin,"system:masters"\n')
        self.etcd = Child(self._etcd_command(), folder / "etcd.log")
        self.api_server = Child(
            self._api_server_command(certificate.certificate, certificate.key, tokens),
            folder / "kube-apiserver.log",
        )

    def _etcd_command(self) -> list[str | Path]:
        peers = f"http://127.0.0.1:{free_port()}"
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

    def _api_server_command(self, certificate: Path, key: Path, tokens: Path) -> list[str | Path]:
        return [
            find("kube-apiserver"),
            f"--etcd-servers={self.etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--service-account-issuer={self.access.url}",
            f"--service-account-key-file={self._key}",
            f"--service-account-signing-key-file={self._key}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={tokens}",
            "--service-cluster-ip-range=10.96.0.0/16",
            # With an address on loopback the start fails otherwise.
            "--endpoint-reconciler-type=none",
            # Nobody would make the ServiceAccount that pods get, nor take finalizers off.
            "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection",
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
        async with aiohttp.ClientSession(self.etcd_url, raise_for_status=True) as http:
            async with http.post("/v3/kv/range", json={"key": "AA=="}) as answer:
                revision = (await answer.json())["header"]["revision"]
            async with http.post("/v3/kv/compaction", json={"revision": revision}):
                pass

    def client(self, token: str | None = None) -> aiohttp.ClientSession:
        """Open a session of the admin's, or of whoever has the token."""
        context = ssl.create_default_context(cafile=str(self.access.authority))
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=32),
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
