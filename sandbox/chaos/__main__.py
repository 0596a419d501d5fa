"""``make chaos MINUTES=15``: harm a cluster of real processes, and see that nothing is lost."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sandbox.chaos import ledger
from sandbox.chaos.deeds import DeedKind
from sandbox.chaos.faults import Faults
from sandbox.chaos.fleet import Fleet, Size
from sandbox.chaos.listeners import EventClient, Receiver
from sandbox.chaos.load import Users

REST_MINUTES = 20.0
"""So long after the faults everything may take to come to its end; then it never will."""


def main() -> int:
    """Run it; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="so long faults go on")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and of the load")
    parser.add_argument("--nodes", type=int, default=100, help="on simulated runtimes")
    parser.add_argument("--containerds", type=int, default=3, help="real ones (needs root)")
    parser.add_argument("--logs", type=Path, help="keep what everybody said there after a breach")
    options = parser.parse_args()
    return asyncio.run(_ended_by_signals(options))


async def _ended_by_signals(options: argparse.Namespace) -> int:
    """Leave nothing mounted behind, however it is ended."""
    running = asyncio.ensure_future(_run(options))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    return await running


async def _run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ips-chaos-") as folder:
        async with Receiver() as receiver:
            size = Size(options.nodes, options.containerds)
            async with Fleet(Path(folder), size) as fleet:
                print(f"the cluster runs after {time.monotonic() - began:.0f} s", flush=True)
                found = await _live(fleet, receiver, options)
                if found and options.logs is not None:
                    fleet.keep_logs(options.logs)
    for breach in found[:50]:
        print(f"BREACH {breach}")
    print(f"{len(found)} breaches" if found else "nothing lost, nothing doubled, every task ended")
    return int(bool(found))


async def _live(fleet: Fleet, receiver: Receiver, options: argparse.Namespace) -> list[str]:
    await fleet.nodes_known()
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    faults = Faults(fleet, options.seed, clock)
    urls = fleet.urls
    clients = [
        EventClient(f"client {number + 1}", [*urls[number:], *urls[:number]])
        for number in range(len(urls))
    ]
    hook = f"http://127.0.0.1:{receiver.port}/"
    users = Users(fleet, options.seed, clock, hook)
    users.is_over = lambda task: any(task in client.ended for client in clients)
    listening = [asyncio.create_task(client.run()) for client in clients]
    try:
        await _until_open(clients)
        async with asyncio.TaskGroup() as both:
            both.create_task(faults.run(options.minutes * 60.0))
            both.create_task(users.run(lambda: faults.are_over))
        await fleet.all_run()
        over = clock()
        print(f"{over:7.1f} s  all is mended", flush=True)
        found = await _breaches(fleet, users, clients, receiver)
        _tell(faults, users, clients, receiver, clock() - over)
    finally:
        for client in listening:
            client.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return found


async def _until_open(clients: list[EventClient]) -> None:
    """Before anything happens, everybody listens: a stream tells at once where it stands."""
    while any(client.position is None for client in clients):
        await asyncio.sleep(0.05)


async def _breaches(
    fleet: Fleet, users: Users, clients: list[EventClient], receiver: Receiver
) -> list[str]:
    open_: list[str] = []
    try:
        async with asyncio.timeout(REST_MINUTES * 60.0):
            answers = await ledger.settled(fleet.urls, users, clients, receiver, open_)
    except TimeoutError:
        return [f"after {REST_MINUTES:g} minutes: {why}" for why in open_]
    return ledger.breaches(users, fleet.deeds(), clients, receiver, answers)


def _tell(
    faults: Faults, users: Users, clients: list[EventClient], receiver: Receiver, rest: float
) -> None:
    print("\n| fault | times | seconds |\n|---|---|---|")
    for kind in faults.kinds:
        seconds = sum(each.seconds for each in faults.happened if each.kind is kind)
        print(f"| {kind} | {faults.counts()[kind]} | {seconds:.0f} |")
    deeds = Counter(deed.kind for deed in faults.fleet.deeds())
    told = ", ".join(str(len(client.told)) for client in clients)
    delivered = sum(map(len, receiver.deliveries.values()))
    print(
        f"\n{len(users.tasks)} tasks on {faults.fleet.size.nodes} simulated nodes and"
        f" {faults.fleet.size.containerds} containerds, {len(users.sets)} warm sets at the end;"
        f" attempts: {deeds[DeedKind.ACCEPTED]} accepted, {deeds[DeedKind.DONE]} done,"
        f" {deeds[DeedKind.FAILED]} failed;"
        f" events at the clients: {told}; {delivered} webhooks;"
        f" all at rest {rest:.0f} s after the last fault\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
