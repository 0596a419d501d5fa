"""Proxies, certificates and tokens, as continuous integration machines have them."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ips_client import Client, ServerUnreachable, UnexpectedAnswer, tls

from sandbox.ports import free_port
from tests.client.between import Between
from tests.client.conftest import NODES, Ips, Service, eventually
from tests.client.faces import MakeFace
from tests.client.proxies import Authority, Proxy, make_authority

pytestmark = pytest.mark.system

PutBetween = Callable[..., Between]
TOKEN = "s3cret-token"
ASKED = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what this machine's environment says of proxies and certificates."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Have a certificate authority."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority, service: Service, between: PutBetween) -> Between:
    """Have the service behind TLS."""
    return between(service.url, tls=server_context(authority))


def server_context(authority: Authority, *, demanding: bool = False) -> ssl.SSLContext:
    """Show the authority's certificate, and demand one of clients."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(authority.certificate, authority.key)
    if demanding:
        made.load_verify_locations(authority.ca)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., tuple[Proxy, str]]]:
    """Start proxies."""
    made: list[Proxy] = []

    def start(credentials: str | None = None) -> tuple[Proxy, str]:
        made.append(Proxy(tmp_path / f"proxy-{len(made)}", credentials))
        return made[-1], made[-1].serve()

    yield start
    for each in made:
        asyncio.run(each.kill())


StartProxy = Callable[..., tuple[Proxy, str]]


# ── proxies ──────────────────────────────────────────────────────────────────────────────────


def test_https_over_a_proxy(
    face: MakeFace,
    secure: Between,
    service: Service,
    proxy: StartProxy,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``HTTPS_PROXY`` connects, for requests and for streams, and never sees the token."""
    program, address = proxy()
    monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    held = service.hold()
    task = face(secure.url, token=TOKEN).do("create", [held.image])
    waited = face(secure.url, token=TOKEN).do(
        "wait", task.task_id, on_progress=lambda _: held.let_go()
    )
    assert waited.completed
    assert all(ASKED in head for head in secure.heads)
    assert any("/events" in line for line in secure.requests)
    eventually(lambda: f"CONNECT {secure.url.removeprefix('https://')}" in program.log)
    assert TOKEN not in program.log


def test_http_over_a_proxy(
    face: MakeFace, service: Service, proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``HTTP_PROXY`` forwards."""
    program, address = proxy()
    monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
    assert len(face(service.url).some("nodes")) == NODES
    eventually(lambda: "GET" in program.log and "/api/v1/nodes" in program.log)


def test_a_proxy_with_credentials(
    face: MakeFace,
    secure: Between,
    proxy: StartProxy,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They stand in its address; without them it is not asked again and again."""
    _, address = proxy("me:p@ss")
    context = tls.context(str(authority.ca))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@{address}")
    assert len(face(secure.url, ssl_context=context).some("nodes")) == NODES
    monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
    with pytest.raises(ServerUnreachable, match="the proxy answers 407"):
        face(secure.url, ssl_context=context, patience=600).some("nodes")
    assert not any("Proxy-Authorization" in head for head in secure.heads)


def test_no_proxy(
    face: MakeFace,
    secure: Between,
    service: Service,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``NO_PROXY`` names who is asked directly; a proxy that is away is said to be."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    context = tls.context(str(authority.ca))
    with pytest.raises(ServerUnreachable, match="connection refused"):
        face(service.url, patience=0).some("nodes")
    with pytest.raises(ServerUnreachable, match="connection refused"):
        face(secure.url, patience=0, ssl_context=context).some("nodes")
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    assert len(face(service.url).some("nodes")) == NODES
    assert len(face(secure.url, ssl_context=context).some("nodes")) == NODES


# ── certificates ─────────────────────────────────────────────────────────────────────────────


def test_whom_to_trust(
    face: MakeFace, secure: Between, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's store, ``SSL_CERT_FILE``, a file, or anybody."""
    with pytest.raises(ServerUnreachable, match="certificate is not trusted"):
        face(secure.url, patience=600).some("nodes")
    assert len(face(secure.url, ssl_context=tls.context(str(authority.ca))).some("nodes")) == NODES
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    assert len(face(secure.url).some("nodes")) == NODES
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.key))
    with pytest.raises(ValueError, match="no certificates to trust"):
        face(secure.url).some("nodes")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_trusting_anybody(face: MakeFace, secure: Between) -> None:
    """Works where one insists."""
    context = tls.context(insecure=True)
    assert len(face(secure.url, ssl_context=context).some("nodes")) == NODES


def test_a_client_certificate(
    face: MakeFace, service: Service, between: PutBetween, authority: Authority, tmp_path: Path
) -> None:
    """Is shown to who demands one; key and certificate in two files or in one."""
    demanding = between(service.url, tls=server_context(authority, demanding=True))
    ca, cert, key = map(str, (authority.ca, authority.certificate, authority.key))
    both = tmp_path / "both.pem"
    both.write_text(authority.certificate.read_text() + authority.key.read_text())
    for context in (tls.context(ca, cert, key), tls.context(ca, str(both))):
        assert len(face(demanding.url, ssl_context=context).some("nodes")) == NODES
    asked = len(demanding.requests)
    # With TLS 1.3 the client has done its part before the server says no, and then hangs up.
    with pytest.raises(ServerUnreachable):
        face(demanding.url, patience=0, ssl_context=tls.context(ca)).some("nodes")
    assert len(demanding.requests) == asked


@pytest.mark.parametrize("name", ["nowhere.pem", "empty.pem"])
def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path, name: str) -> None:
    """Are named."""
    (tmp_path / "empty.pem").touch()
    file = str(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: no certificates to trust"):
        tls.context(file)
    with pytest.raises(ValueError, match=f"{name}.*: no certificate with its key"):
        tls.context(None, file, str(authority.key))
    with pytest.raises(ValueError, match="of no use"):
        tls.context(None, None, str(authority.key))


def test_plain_http_where_tls_is_expected(face: MakeFace, service: Service) -> None:
    """Is said, and not tried again."""
    with pytest.raises(ServerUnreachable, match="no TLS connection"):
        face(service.url.replace("http:", "https:"), patience=600).some("nodes")


# ── tokens ───────────────────────────────────────────────────────────────────────────────────


def test_a_token_goes_to_nobody_else(face: MakeFace, between: PutBetween) -> None:
    """A redirect is not followed, whatever it leads to."""
    other = between(says=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    head = f"HTTP/1.1 307 T\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n"
    server = between(says=head.encode())
    for method in ("nodes", "events"):
        with pytest.raises(UnexpectedAnswer, match="redirects to"):
            face(server.url, token=TOKEN).some(method)
    assert all(ASKED in each for each in server.heads)
    assert other.connections == 0


def test_a_token_is_not_logged(
    face: MakeFace, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither by this package nor by the libraries below it."""
    caplog.set_level(logging.DEBUG)
    face(service.url, token=TOKEN).some("nodes")
    assert TOKEN not in caplog.text


def test_netrc_has_no_say(
    face: MakeFace,
    service: Service,
    between: PutBetween,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Name and password of ``~/.netrc`` go neither before a token nor in the place of none."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password wrong\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = between(service.url)
    face(server.url, token=TOKEN).some("nodes")
    assert server.heads[-1].count("Authorization") == 1
    assert ASKED in server.heads[-1]
    face(server.url).some("nodes")
    assert "Authorization" not in server.heads[-1]


def test_a_token_that_is_renewed(face: MakeFace, service: Service, between: PutBetween) -> None:
    """Is asked for before each request."""
    server, tokens = between(service.url, drops=1), iter(["one", "two"])
    face(server.url, token=lambda: next(tokens)).some("nodes")
    sent = [line for head in server.heads for line in head.split("\r\n") if "Bearer" in line]
    assert sent == ["Authorization: Bearer one", "Authorization: Bearer two"]


# ── the command ──────────────────────────────────────────────────────────────────────────────


def test_the_command_and_its_token(
    ips: Ips, service: Service, between: PutBetween, tmp_path: Path
) -> None:
    """``--token`` before ``IPS_TOKEN`` and ``IPS_TOKEN_FILE``, which exclude one another."""
    server = between(service.url)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    ways: list[tuple[list[str], dict[str, str]]] = [
        (["--token", TOKEN, "ls"], {"IPS_TOKEN": "another"}),
        (["ls", "--token", TOKEN], {}),
        (["ls"], {"IPS_TOKEN": TOKEN}),
        (["ls"], {"IPS_TOKEN_FILE": str(tmp_path / "token")}),
    ]
    for words, env in ways:
        assert ips(*words, "--server", server.url, env=env).returncode == 0
        assert ASKED in server.heads[-1]
    wrong: list[tuple[dict[str, str], str]] = [
        ({"IPS_TOKEN": TOKEN, "IPS_TOKEN_FILE": "x"}, "are both set"),
        ({"IPS_TOKEN_FILE": "/nowhere/token"}, "IPS_TOKEN_FILE=/nowhere/token: No such file"),
        ({"IPS_TOKEN_FILE": "/dev/null"}, "IPS_TOKEN_FILE=/dev/null: the file is empty"),
        ({"IPS_TOKEN": f"{TOKEN}\u00e4"}, "cannot be sent"),
        ({"IPS_TOKEN": TOKEN, "IPS_SERVER": "http://me:pw@h"}, "leave one of them out"),
    ]
    for env, message in wrong:
        done = ips("ls", env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert TOKEN not in done.stderr


def test_the_command_and_certificates(
    ips: Ips, service: Service, between: PutBetween, authority: Authority
) -> None:
    """``--ca``, ``--cert``, ``--key``; ``--insecure`` says each time that it is."""
    server = between(service.url, tls=server_context(authority, demanding=True))
    own = ["--cert", str(authority.certificate), "--key", str(authority.key)]
    for words in (["nodes", "-o", "name"], ["run", "x", "--dry-run", "-o", "name"]):
        to = [*words, "--server", server.url, *own]
        done = ips(*to, "--ca", str(authority.ca))
        assert (done.returncode, len(done.stdout.split()), done.stderr) == (0, NODES, "")
        done = ips(*to, "--insecure")
        assert (done.returncode, len(done.stdout.split())) == (0, NODES)
        assert done.stderr == (
            "ips: --insecure: whoever answers is trusted, and gets the credentials\n"
        )
        done = ips(*to)
        assert done.returncode == 5
        assert "certificate is not trusted" in done.stderr
        done = ips(*to, "--ca", "/nowhere.pem")
        assert done.returncode == 2
        assert "/nowhere.pem: no certificates to trust (No such file" in done.stderr


def test_waiting_with_certificates(
    ips: Ips, service: Service, client: Client, secure: Between, authority: Authority
) -> None:
    """The asynchronous face of the command takes the same options."""
    held = service.hold()
    held.let_go()
    task = client.create([held.image]).task_id
    words = ["wait", task, "--server", secure.url, "--ca", str(authority.ca)]
    assert ips(*words, env={"IPS_TOKEN": TOKEN}).returncode == 0
    assert all(ASKED in head for head in secure.heads)
