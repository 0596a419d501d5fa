"""Machines in namespaces: apart from this one and from each other, and gone when they are to be."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.kubernetes import cgroups
from sandbox.kubernetes.cluster_folders import cluster_folder, remove_leftovers
from sandbox.kubernetes.machines import Machine
from sandbox.kubernetes.networks import ROUTER, Addresses, make_router, plug_in
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system

VICTIM = """
import asyncio
from sandbox.kubernetes import cgroups
from sandbox.kubernetes.cluster_folders import cluster_folder
from sandbox.kubernetes.machines import Machine

async def main():
    with cluster_folder() as folder:
        cgroups.make(f"{folder.name}/node-1")
        machine = Machine("node-1", folder / "node-1", "10.210.0.2")
        await machine.start()
        print(machine.first, folder, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
"""A program that has a machine and a control group, and says its first process and its folder."""


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    """A router and a node that is plugged into it."""
    router = Machine("control-plane", tmp_path / "control-plane", ROUTER)
    node = Machine("node-1", tmp_path / "node-1", Addresses(1).node)
    try:
        await router.start()
        await node.start()
        make_router(router)
        plug_in(router, node, Addresses(1))
        yield router, node
    finally:
        await node.stop()
        await router.stop()


async def test_machines_reach_one_another_and_nobody_else(
    machines: tuple[Machine, Machine],
) -> None:
    """A socket is where it was made, and this process is still where it was."""
    router, node = machines
    with router.socket() as listener:
        listener.bind((ROUTER, 5000))
        listener.listen()
        with node.socket() as inside:
            inside.settimeout(PATIENCE)
            inside.connect((ROUTER, 5000))
    with socket.socket() as here, pytest.raises(OSError, match="Cannot assign"):
        here.bind((ROUTER, 0))


async def test_what_a_machine_has_is_its_own(machines: tuple[Machine, Machine]) -> None:
    """Processes, mounts, and what it writes where a node writes."""
    router, node = machines
    node.run("sh", "-c", "touch /var/lib/mine /run/mine /var/log/mine")
    assert (node.folder / "log" / "mine").exists()
    assert "mine" not in router.run("ls", "/var/lib", "/run", "/var/log")
    assert not {Path("/var/lib/mine"), Path("/run/mine")} & {
        *Path("/var/lib").iterdir(),
        *Path("/run").iterdir(),
    }
    assert "mount --make-rshared" in node.run("cat", "/proc/1/cmdline")


async def test_a_program_that_is_killed_leaves_nothing() -> None:
    """Its processes die with it; folder and control groups are removed by whoever comes next."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    first, folder = (await program.stdout.readline()).decode().split()
    assert Path(folder).name not in remove_leftovers()  # it lives
    assert Path(f"/proc/{first}").exists()
    program.send_signal(signal.SIGKILL)
    await program.wait()
    while Path(f"/proc/{first}").exists():
        await asyncio.sleep(0.05)
    assert Path(folder).name in remove_leftovers()
    assert not Path(folder).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{Path(folder).name}"))


async def test_what_is_in_a_control_group_ends_with_it() -> None:
    """A container that outlived its node."""
    with cluster_folder() as folder:
        cgroups.make(f"{folder.name}/node-1")
        sleeper = await asyncio.create_subprocess_exec("sleep", "1000")
        for group in Path("/sys/fs/cgroup").glob(f"**/{folder.name}/node-1/cgroup.procs"):
            group.write_text(str(sleeper.pid))
    assert await asyncio.wait_for(sleeper.wait(), PATIENCE) == -signal.SIGKILL
