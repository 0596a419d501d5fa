"""5,000 nodes of 20 kB on a real API server: what they cost the coordinator, how soon it knows.

Memory is the whole process's, against one that watches no node. The delay is from the API server's
answer to whoever changes a node to the node table, with another process for each of the three: on a
busy machine most of it is the API server's, and what the node source itself takes is its CPU time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench.figures import quantile, resident_mib, show
from bench.nodes import all_known
from sandbox.kubernetes.control_plane import ControlPlane
from sandbox.programs import PROJECT, Coordinator

COUNT = 5_000
BYTES = 18_000
"""Of an annotation; labels, status and what the API server adds make it 20 kB."""
LABELS = {f"example.com/label-{number}": f"value-{number}" for number in range(20)}
CHANGES = 1_000
PACES = (100, 150, 200)
"""Changes a second. On two cores the API server alone takes both at the last."""
LABEL = "changed"
_AT_ONCE = 16
_SETTLE_SECONDS = 3.0


async def run() -> None:
    """Measure and print."""
    print(f"{COUNT} nodes of 20 kB on a real API server")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with ControlPlane(folder) as plane:
            without = await _resident_with(plane, folder, 0)
            names = await _make_nodes(plane)
            resident = await _resident_with(plane, folder, COUNT)
            show("coordinator, resident, without a node", f"{without:.0f} MiB")
            show("the nodes, resident", f"{resident - without:.0f} MiB", "at most 80 MiB")
            for number, pace in enumerate(PACES):
                await _show_delays(plane, names[number * CHANGES :][:CHANGES], pace)


async def _resident_with(plane: ControlPlane, folder: Path, nodes: int) -> float:
    """Resident MiB of a coordinator that has just learnt of all nodes."""
    settings = {
        "IPS_NODE_SOURCE": "kubernetes",
        "IPS_NODE_SELECTOR": "*",
        "KUBECONFIG": str(plane.admin_config),
    }
    coordinator = Coordinator(folder, settings, name=f"coordinator-{nodes}")
    coordinator.start()
    try:
        await coordinator.ready()
        await all_known(coordinator, nodes)
        await asyncio.sleep(_SETTLE_SECONDS)
        return resident_mib(coordinator.pid or 0)
    finally:
        await coordinator.terminate(within=60)


async def _make_nodes(plane: ControlPlane) -> list[str]:
    names = [f"node-{number:04}" for number in range(COUNT)]
    slots = asyncio.Semaphore(_AT_ONCE)
    status = {"conditions": [{"type": "Ready", "status": "True"}]}

    async def make(http: aiohttp.ClientSession, name: str) -> None:
        padding = {"example.com/padding": "x" * BYTES}
        node = {
            "metadata": {"name": name, "labels": LABELS, "annotations": padding},
            "status": status,
        }
        async with slots, http.post(f"{plane.access.url}/api/v1/nodes", json=node) as answer:
            answer.raise_for_status()

    async with plane.client() as http:
        await asyncio.gather(*(make(http, name) for name in names))
    return names


async def _show_delays(plane: ControlPlane, names: Sequence[str], pace: int) -> None:
    """Change nodes at an even pace, while another process watches."""
    watcher = await _program(plane, "bench.watcher", str(len(names)), LABEL)
    assert watcher.stdout is not None
    assert await watcher.stdout.readline() == b"listed\n"
    access = plane.access
    where = (access.url, str(access.authority), plane.admin_token, str(pace))
    changer = await _program(plane, "sandbox.kubernetes.change_nodes", *where, *names)
    answered = json.loads((await changer.communicate())[0])
    told = json.loads((await watcher.communicate())[0])
    # An answer may be read later than the event that belongs to it.
    delays = [max(0.0, told["seen"][name] - answered[name]) for name in names]
    for part, goal in ((0.5, ""), (0.99, "under 50 ms")):
        what = f"{pace} changes a second, until the table knows, p{part * 100:.0f}"
        show(what, f"{quantile(delays, part) * 1e3:.1f} ms", goal)
    show("CPU of the node source for a change", f"{told['cpu'] / len(names) * 1e3:.2f} ms")


async def _program(plane: ControlPlane, module: str, *arguments: str) -> asyncio.subprocess.Process:
    env = {**os.environ, "KUBECONFIG": str(plane.admin_config), "PYTHONPATH": str(PROJECT)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env=env,
        limit=2**22,
    )


if __name__ == "__main__":
    asyncio.run(run())
