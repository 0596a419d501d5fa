"""The node table against a real API server: in the end both are equal, whatever happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from coordinator.nodes import watched
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.kubernetes.kubeconfig import Access
from tests.fixtures.kubernetes import Kube
from tests.kubernetes.conftest import Watch
from tests.kubernetes.table import differences, equal
from tests.kubernetes.wire import Wire

pytestmark = pytest.mark.kubernetes


async def test_what_there_is_is_listed_and_what_changes_is_seen(kube: Kube, watch: Watch) -> None:
    """Labels, cordons, readiness, new nodes and deleted ones."""
    await kube.create_node("n1", {"zone": "a"})
    await kube.create_node("n2", ready="False")
    nodes, table = await watch(kube.config)
    await table.until(lambda: table.is_listed)
    assert table.told == [("seen", "n1"), ("seen", "n2"), ("listed", "")]
    assert nodes.trouble is None
    assert not table.nodes["n2"].schedulable

    await kube.label("n1", zone="b")
    await table.until(lambda: table.nodes["n1"].labels["zone"] == "b")
    await kube.cordon("n1")
    await table.until(lambda: not table.nodes["n1"].schedulable)
    assert str(table.nodes["n1"].problem) == "Node n1 is cordoned."
    await kube.cordon("n1", cordoned=False)
    await table.until(lambda: table.nodes["n1"].schedulable)
    await kube.report("n1", "Unknown")
    await table.until(lambda: not table.nodes["n1"].schedulable)
    assert str(table.nodes["n1"].problem) == "Node n1 is not Ready (Unknown)."
    await kube.create_node("n3")
    await table.until(lambda: "n3" in table.nodes)
    await kube.delete_node("n3")
    await table.until(lambda: "n3" not in table.nodes)
    assert await differences(table, kube) == []


async def test_what_does_not_matter_is_not_told(kube: Kube, watch: Watch) -> None:
    """Node objects change all day: heartbeats, lists of images, annotations."""
    await kube.create_node("n1")
    _, table = await watch(kube.config)
    await table.until(lambda: table.is_listed)
    for number in range(20):
        change = {"metadata": {"annotations": {"example.com/number": str(number)}}}
        await kube.call("PATCH", "/api/v1/nodes/n1", change)
    await kube.create_node("n2")
    await table.until(lambda: "n2" in table.nodes)
    assert table.told == [("seen", "n1"), ("listed", ""), ("seen", "n2")]


async def test_a_table_that_misses_a_change_is_found_out(kube: Kube, watch: Watch) -> None:
    """The comparison of the other tests is no mirror of the table."""
    await kube.create_node("n1", {"zone": "a"})
    _, table = await watch(kube.config)
    await table.until(lambda: table.is_listed)
    assert await differences(table, kube) == []
    table.seen = lambda *_: None  # type: ignore[method-assign]
    await kube.label("n1", zone="b")
    await kube.create_node("n2")
    assert [line.partition(":")[0] for line in await differences(table, kube)] == ["n1", "n2"]


async def test_a_node_that_was_made_anew_meanwhile_is_another_one(
    kube: Kube, watch: Watch, wire: Wire, wired_config: Path
) -> None:
    """The same name, another machine: what was to be done on the first is not to be waited for."""
    await kube.create_node("n1")
    _, table = await watch(wired_config)
    await table.until(lambda: table.is_listed)
    wire.refuses = True
    wire.cut()
    await kube.delete_node("n1")
    await kube.create_node("n1")
    wire.refuses = False
    await table.until(lambda: table.told[-2:] == [("vanished", "n1"), ("seen", "n1")])


async def test_a_cut_watch_goes_on_from_where_it_was(
    kube: Kube, watch: Watch, wire: Wire, wired_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is missed, nothing is told twice, and the nodes are not listed again."""
    lists = 0
    real = watched.WatchedNodes._list

    async def counted(*arguments: object) -> str:
        nonlocal lists
        lists += 1
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(watched.WatchedNodes, "_list", counted)
    _, table = await watch(wired_config)
    await table.until(lambda: table.is_listed)
    for number in range(10):
        wire.cut()
        await kube.create_node(f"n{number}")
        await table.until(lambda name=f"n{number}": name in table.nodes)  # type: ignore[misc]
    assert await differences(table, kube) == []
    assert len(table.told) == 1 + 10
    assert lists == 1


async def test_a_watch_that_is_too_far_behind_lists_anew(
    kube: Kube, watch: Watch, wire: Wire, wired_config: Path, control_plane: ControlPlane
) -> None:
    """410: the history is compacted, and an API server that was restarted has none of its own."""
    await kube.create_node("n1", {"zone": "a"})
    await kube.create_node("n2")
    _, table = await watch(wired_config)
    await table.until(lambda: table.is_listed)
    wire.refuses = True
    wire.cut()
    await kube.label("n1", zone="b")
    await kube.delete_node("n2")
    await kube.create_node("n3")
    await control_plane.compact()
    await control_plane.api_server.kill()
    control_plane.api_server.start()
    await control_plane.ready()
    wire.refuses = False
    await table.until(lambda: "n2" not in table.nodes and "n3" in table.nodes)
    await equal(table, kube)
    assert [word for word in table.told if word[0] == "listed"] == [("listed", "")]


async def test_a_half_open_connection_is_noticed(
    kube: Kube, watch: Watch, wire: Wire, wired_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte, not even a bookmark, for too long: it is as good as cut."""
    monkeypatch.setattr(watched, "SILENCE_SECONDS", 1.0)
    nodes, table = await watch(wired_config)
    await table.until(lambda: table.is_listed)
    wire.freeze()
    await kube.create_node("n1")
    while not nodes.trouble:
        await asyncio.sleep(0.05)
    wire.cut()
    wire.thaw()
    await table.until(lambda: "n1" in table.nodes)


async def test_an_api_server_that_is_away_is_said_and_waited_for(
    kube: Kube, watch: Watch, wire: Wire, wired_config: Path
) -> None:
    """Before the first list, too: there is one sentence for users, and no end of the program."""
    wire.refuses = True
    nodes, table = await watch(wired_config)
    assert str(nodes.trouble) == "Kubernetes has not listed its nodes yet."
    while "cannot be asked" not in str(nodes.trouble):
        await asyncio.sleep(0.05)
    await kube.create_node("n1")
    wire.refuses = False
    await table.until(lambda: table.is_listed)
    assert nodes.trouble is None
    assert set(table.nodes) == {"n1"}


@asynccontextmanager
async def changing(kube: Kube, names: list[str], pause: float = 0.0) -> AsyncIterator[None]:
    """Change nodes at random all the while, over an API server that comes and goes."""
    choose = random.Random(7)

    async def change() -> None:
        while True:
            name = choose.choice(names)
            await asyncio.sleep(pause)
            try:
                match choose.randrange(5):
                    case 0:
                        await kube.delete_node(name)
                    case 1:
                        await kube.create_node(name, {"zone": choose.choice("abc")})
                    case 2:
                        await kube.cordon(name, cordoned=choose.random() < 0.5)
                    case 3:
                        await kube.report(name, choose.choice(["True", "False", "Unknown"]))
                    case _:
                        await kube.label(name, zone=choose.choice("abc"))
            except (aiohttp.ClientError, AssertionError):
                await asyncio.sleep(0.01)  # away, or there is no such node, or there is one

    job = asyncio.create_task(change())
    try:
        yield
    finally:
        job.cancel()
        await asyncio.wait([job])


async def test_an_api_server_that_is_killed_ten_times_loses_nothing(
    kube: Kube, watch: Watch, control_plane: ControlPlane
) -> None:
    """Nodes change all the while; in the end the table is right."""
    _, table = await watch(kube.config)
    await table.until(lambda: table.is_listed)
    async with changing(kube, [f"n{number}" for number in range(30)], pause=0.005):
        for _ in range(10):
            before = len(table.told)
            await table.until(lambda: len(table.told) > before)  # noqa: B023
            await control_plane.api_server.kill()
            control_plane.api_server.start()
            await control_plane.ready()
    await equal(table, kube)
    assert len(table.told) > 20


async def test_a_connection_that_is_cut_all_the_time_loses_nothing(
    kube: Kube, watch: Watch, wire: Wire, wired_config: Path
) -> None:
    """Slow as well: whole objects arrive in pieces, and many never arrive."""
    wire.bytes_per_second = 200_000
    _, table = await watch(wired_config)
    await table.until(lambda: table.is_listed)
    async with changing(kube, [f"n{number}" for number in range(30)], pause=0.005):
        for _ in range(20):
            before = len(table.told)
            await table.until(lambda: len(table.told) > before)  # noqa: B023
            wire.cut()
    wire.bytes_per_second = None
    await equal(table, kube)
    assert wire.accepted >= 20


async def test_a_token_that_was_rotated_on_disk_is_read_again(
    kube: Kube, watch: Watch, wire: Wire, tmp_path: Path
) -> None:
    """The old one is worth nothing any more; the next connection is made with the new one."""
    file = tmp_path / "token"
    file.write_text("of-yesterday")
    access = Access(f"https://127.0.0.1:{wire.port}", kube.plane.access.authority)
    config = access.kubeconfig(tmp_path / "rotated", {"tokenFile": str(file)})
    nodes, table = await watch(config)
    while "401" not in str(nodes.trouble):
        await asyncio.sleep(0.05)
    file.write_text(kube.plane.admin_token)
    await table.until(lambda: table.is_listed)
    await kube.create_node("n1")
    await table.until(lambda: "n1" in table.nodes)  # by the watch: what is cut now is that
    file.write_text("of-tomorrow")
    wire.cut()
    while "401" not in str(nodes.trouble):
        await asyncio.sleep(0.05)
    await kube.create_node("n2")
    file.write_text(kube.plane.admin_token)
    await table.until(lambda: "n2" in table.nodes)
