"""An agent installed alone, with the ``cri`` driver: resident memory, and CPU while idle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp

from bench.figures import cpu_of, resident_mib, show
from sandbox.child import Child
from sandbox.containerd import Containerd
from sandbox.images import make_image
from sandbox.programs import PROJECT, Coordinator, post_task
from sandbox.registry import Registry

IDLE_SECONDS = 60.0
MIB = 1024 * 1024


async def run() -> None:
    """Measure and print."""
    print("an agent installed alone into a virtual environment of its own")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = await asyncio.to_thread(_install, folder / "venv")
        coordinator = Coordinator(folder)
        async with Containerd() as containerd, Registry() as registry:
            coordinator.start()
            await coordinator.ready()
            settings = {
                **coordinator.agent_settings("node-1"),
                "IPS_NODE_NAME": "node-1",
                "IPS_DATA_DIR": str(folder / "agent"),
                "IPS_AGENT_METRICS_PORT": "0",
                "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}",
                "PATH": os.environ["PATH"],
            }
            agent = Child([python, "-m", "agent"], folder / "agent.log", env=settings)
            agent.start()
            try:
                await _measure(coordinator, registry, agent)
            finally:
                await agent.terminate(within=30)
                await coordinator.terminate()


def _install(venv: Path) -> Path:
    """Install the agent and nothing else; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip: list[str | Path] = [
        venv / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    constraints: list[str | Path] = ["--constraint", PROJECT / "constraints.txt"]
    subprocess.run([*pip, *constraints, f"{PROJECT}[agent]"], check=True)
    return venv / "bin" / "python"


async def _measure(coordinator: Coordinator, registry: Registry, agent: Child) -> None:
    images = [
        registry.put(f"bench/{n}", "1", make_image(4 * MIB, 4 * MIB, seed=n)) for n in range(3)
    ]
    async with aiohttp.ClientSession() as http:
        task = await post_task(http, coordinator.url, {"images": images})
        async with http.get(f"{coordinator.url}/api/v1/tasks/{task}/events") as stream:
            if b"task.completed" not in await stream.read():
                raise AssertionError(f"not completed: {agent.log}")
    pid = agent.pid or 0
    show("agent, resident after its first pulls", f"{resident_mib(pid):.1f} MiB", "at most 40 MiB")
    before = cpu_of(pid)
    await asyncio.sleep(IDLE_SECONDS)
    share = (cpu_of(pid) - before) / IDLE_SECONDS
    show("agent, idle, of one core", f"{share:.2%}", "under 0.2 %")


if __name__ == "__main__":
    asyncio.run(run())
