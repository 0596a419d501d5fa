"""``make cluster``: a whole cluster to try things on, until Ctrl-C.

Every image that ``deploy/`` names can be pulled there, and volumes wait to be claimed.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys

from sandbox.kubernetes.cluster import Cluster, KubectlError, running_cluster
from sandbox.kubernetes.control_plane import ControlPlaneError
from sandbox.kubernetes.machines import MachineError
from sandbox.kubernetes.node_images import (
    ProgramMissingError,
    put_busybox,
    put_nats,
    put_pause,
)
from sandbox.kubernetes.our_images import BuildError, put_our_images
from sandbox.kubernetes.parts import PartMissingError, find

_VOLUMES = 8
_ERRORS = (
    BuildError,
    ControlPlaneError,
    KubectlError,
    MachineError,
    PartMissingError,
    ProgramMissingError,
)


async def serve(nodes: int) -> None:
    """Start it, say how it is used, and wait for a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_cluster(nodes) as cluster:
        for put in (put_pause, put_busybox, put_nats, put_our_images):
            put(cluster.registry)
        cluster.add_volumes(_VOLUMES)
        print(f"\n{nodes} nodes are Ready. In another shell:\n\n{_usage(cluster)}\n", flush=True)
        await stop.wait()
        print("\ntaking it down …", flush=True)


def _usage(cluster: Cluster) -> str:
    config = cluster.admin_environment()["KUBECONFIG"]
    enter = shlex.join(map(str, cluster.admin(["bash"])))
    return (
        f"  {enter}                # its network\n"
        f"  export KUBECONFIG={config} PATH={find('kubectl').parent}:$PATH\n"
        "  make k8s-deploy"
    )


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, default=2, help="how many (1 to 8)")
    try:
        asyncio.run(serve(parser.parse_args().nodes))
    except _ERRORS as error:
        print(f"make cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
