"""``make run``: a small cluster on this machine, a first task on it, then a service to play with.

Three nodes (real containerds with their own root and socket where this machine allows it), a
registry with images made on the spot, one agent a node, one coordinator with its own NATS. Nothing
is left running behind, and no file but what the temporary folder holds while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from sandbox.containerd import Containerd, ContainerdError
from sandbox.images import make_image
from sandbox.programs import START_SECONDS, Agent, Coordinator, ProgramError, post_task
from sandbox.registry import Registry

PORT = 8080
MIB = 1024 * 1024
BANDWIDTH = 12 * MIB
"""Bytes a second that the registry serves in all: slow enough to see something."""
ZONES = ("a", "b", "b")
IMAGES = {"shop/web": 12, "shop/api": 8, "shop/worker": 4}
"""Size of each image in MiB."""


def main() -> int:
    """Run the demonstration; its exit code."""
    parser = argparse.ArgumentParser(prog="make run ARGS=…", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the first task")
    parser.add_argument("--simulated", action="store_true", help="no containerd: simulated nodes")
    arguments = parser.parse_args()
    try:
        return asyncio.run(_demonstrate(once=arguments.once, simulated=arguments.simulated))
    except ProgramError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _demonstrate(*, once: bool, simulated: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ips-run-")))
        registry = await stack.enter_async_context(Registry())
        registry.throttle(BANDWIDTH)
        images = [
            registry.put(name, "1.0", make_image(*([MIB * size // 2] * 2), seed=name))
            for name, size in IMAGES.items()
        ]
        coordinator = Coordinator(folder, port=_free(int(os.environ.get("SERVER_PORT", PORT))))
        await stack.enter_async_context(_running(coordinator))
        await coordinator.ready()
        for agent in await _agents(stack, coordinator, folder, simulated=simulated):
            await stack.enter_async_context(_running(agent))
        await _announced(coordinator, len(ZONES))
        task = await _first_task(coordinator, images)
        code = await _watch(coordinator, task, stop)
        if not once and not stop.is_set():
            _invite(coordinator, images)
            await stop.wait()
    print("Stopped; nothing is left running.")
    return code


def _free(port: int) -> int:
    """The port itself, or ProgramError: what listens there would be taken for ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ProgramError(
                f"port {port}: {error.strerror}; stop what listens there, or name another port: "
                f"SERVER_PORT={port + 1} make run"
            ) from error
    return port


@asynccontextmanager
async def _running(program: Agent | Coordinator) -> AsyncIterator[None]:
    program.start()
    try:
        yield
    finally:
        await program.terminate(within=30)


async def _agents(
    stack: AsyncExitStack, coordinator: Coordinator, folder: Path, *, simulated: bool
) -> list[Agent]:
    containerds = [] if simulated else await _containerds(stack)
    agents = []
    for number, zone in enumerate(ZONES):
        settings = {
            **coordinator.agent_settings(f"node-{number + 1}"),
            "IPS_NODE_LABELS": f"workload=compute,zone={zone}",
            "IPS_RUNTIME": "cri" if containerds else "simulated",
        }
        if containerds:
            settings["IPS_RUNTIME_ENDPOINT"] = f"unix://{containerds[number].socket}"
        agents.append(Agent(folder, f"node-{number + 1}", settings))
    return agents


async def _containerds(stack: AsyncExitStack) -> Sequence[Containerd]:
    """Three containerds, or none, said loudly, where this machine cannot run them."""
    try:
        _ensure_containerd()
        found = [await stack.enter_async_context(Containerd()) for _ in ZONES]
    except (ContainerdError, FileNotFoundError, OSError, subprocess.CalledProcessError) as error:
        print(
            f"\n*** No real containerd here ({error}).\n"
            "*** THE NODES ARE SIMULATED: no image is pulled anywhere. ***\n"
        )
        return []
    print(f"Three nodes, each a containerd {found[0].binary.version} of its own.")
    return found


def _ensure_containerd() -> None:
    if os.geteuid() != 0:
        raise ContainerdError("it needs root")
    if shutil.which("containerd") is None:
        print("Installing containerd from Debian's packages …")
        install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "containerd"]
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)


async def _announced(coordinator: Coordinator, count: int) -> None:
    """Wait for the nodes: a task's are those that are known when it starts."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(START_SECONDS):
        while True:
            async with http.get(f"{coordinator.url}/api/v1/nodes") as answer:
                if (await answer.json())["total"] == count:
                    return
            await asyncio.sleep(0.1)


async def _first_task(coordinator: Coordinator, images: Sequence[str]) -> str:
    async with aiohttp.ClientSession() as http:
        body = {"images": images, "batchSize": 2, "nodeSelector": {"workload": "compute"}}
        task = await post_task(http, coordinator.url, body)
    print(f"Task {task}: {len(images)} images onto {len(ZONES)} nodes, two at a time.")
    return task


async def _watch(coordinator: Coordinator, task: str, stop: asyncio.Event) -> int:
    """Show the task with the command line client until it is over; its exit code."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ips_client", "--server", coordinator.url, "wait", task
    )
    over, stopped = asyncio.ensure_future(client.wait()), asyncio.ensure_future(stop.wait())
    await asyncio.wait([over, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not over.done():
        client.terminate()
    return await over


def _invite(coordinator: Coordinator, images: Sequence[str]) -> None:
    tasks = f"localhost:{coordinator.port}/api/v1/tasks"
    body = f'{{"images": ["{images[0]}"], "imagePullPolicy": "Always"}}'
    print(
        f"\nServing on http://localhost:{coordinator.port} until Ctrl-C. Try:\n\n"
        f"  curl -s {tasks} -H 'Content-Type: application/json' \\\n    -d '{body}'\n"
        f"  curl -s localhost:{coordinator.port}/api/v1/nodes\n"
    )


if __name__ == "__main__":
    sys.exit(main())
