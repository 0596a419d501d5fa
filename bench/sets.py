"""What a coordinator's core of warm sets takes: memory, and time for what happens to a fleet.

``python -m bench.sets [--nodes 10000] [--sets 200] [--each 10] [--images 50]``: every node is in
``each`` sets of so many images; all are told, report what they have, and report it again.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial

import msgspec

from common.inventory import Found, Inventory, inventory_hash
from common.messages import InventoryState
from coordinator.core.events import NodeSeen, Settled, Woken
from coordinator.core.fleet import Fleet, Node
from coordinator.core.sets.core import SetCore, SetLimits
from coordinator.core.sets.decisions import SendWanted
from coordinator.core.sets.events import AgentSaid, InventoryReported, SetStored
from coordinator.core.sets.head import SetHead
from coordinator.core.task import TaskImage, TaskSpec
from coordinator.cron import window_at

MIB = 1024
"""KiB, in which the system tells what a process has taken."""


def resident() -> float:
    """The most MiB that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def timed(what: str, work: Callable[[], object]) -> None:
    """Do it, and print how long it took and what there is now."""
    began = time.perf_counter()
    work()
    print(f"{what:<44} {time.perf_counter() - began:7.2f} s  {resident():6.0f} MiB")


class Crowd:
    """Nodes in groups; each group is in the same sets."""

    def __init__(self, nodes: int, sets: int, each: int, images: int) -> None:
        self.groups = sets // each
        self.names = [f"node-{number:05}.zone-{number % 7}" for number in range(nodes)]
        self.fleet = Fleet()
        self.core = SetCore(SetLimits(), self.fleet, {}, window_at)
        self.heads = [self._set(number, each, images) for number in range(sets)]
        self.references = {
            group: sorted(
                image.reference
                for head in self.heads[group * each : (group + 1) * each]
                for image in head.spec.work
            )
            for group in range(self.groups)
        }
        self.told: dict[str, SendWanted] = {}
        self.now = 1_768_576_354.0

    def _set(self, number: int, each: int, images: int) -> SetHead:
        work = tuple(
            TaskImage(
                name=f"team/{number}/{image}:1", reference=f"r.example/team/{number}/{image}:1"
            )
            for image in range(images)
        )
        spec = TaskSpec(
            images=tuple(image.name for image in work),
            work=work,
            node_selector={"group": str(number // each)},
        )
        return SetHead(name=f"set-{number}", spec=spec, created_at=0, updated_at=0)

    def feed(self, event: object) -> None:
        """Let the core know; remember what it tells agents."""
        for command in self.core.handle(event, self.now).commands:  # type: ignore[arg-type]
            if isinstance(command, SendWanted):
                self.told[command.node] = command

    def join(self) -> None:
        """All nodes are seen, and their agents heard."""
        for number, name in enumerate(self.names):
            labels = {"group": str(number % self.groups), "zone": str(number % 7)}
            self.fleet.see(name, Node(labels, schedulable=True))
            self.fleet.heard(name, f"{number:016x}", 10.0, self.now)
            self.feed(NodeSeen(name, labels))
            self.feed(AgentSaid(name, f"{number:016x}", "1.0", InventoryState()))

    def tell(self) -> None:
        """Let the core tell all agents what is wanted."""
        self.feed(Settled())
        while len(self.told) < len(self.names):
            self.feed(Woken())

    def put(self) -> None:
        """All sets are stored."""
        for head in self.heads:
            self.feed(SetStored(head, found=True))

    def reports(self, number: int) -> list[Inventory]:
        """What every agent of each group says: all that it has."""
        return [
            self._whole(number, self.told[self.names[group]].wanted.generation, references)
            for group, references in self.references.items()
        ]

    def _whole(self, number: int, generation: str, references: list[str]) -> Inventory:
        found = [
            Found(reference=each, digest=f"sha256:{hash((each, 1)) % 2**256:064x}")
            for each in references
        ]
        digests = ((each.reference, each.digest) for each in found)
        return Inventory(
            generation=generation,
            number=number,
            hash=inventory_hash(generation, digests),
            whole=True,
            found=found,
        )

    def report(self, reports: list[bytes]) -> None:
        """Every agent says so, as after a restart of NATS and of all agents."""
        for number, name in enumerate(self.names):
            report = msgspec.json.decode(reports[number % self.groups], type=Inventory)
            self.feed(InventoryReported(name, f"{number:016x}", report))

    def beat(self) -> None:
        """One heartbeat of each."""
        for number, name in enumerate(self.names):
            self.feed(AgentSaid(name, f"{number:016x}", "1.0", InventoryState()))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("nodes", 10_000), ("sets", 200), ("each", 10), ("images", 50)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    crowd = Crowd(chosen.nodes, chosen.sets, chosen.each, chosen.images)
    before = resident()
    timed("nodes join", crowd.join)
    timed("sets are put", crowd.put)
    timed("agents are told", crowd.tell)
    for number in (1, 2):
        reports = [msgspec.json.encode(report) for report in crowd.reports(number)]
        timed(f"every agent reports, {number}", partial(crowd.report, reports))
    timed("every agent sends a heartbeat", crowd.beat)
    print(
        f"{chosen.nodes * chosen.each * chosen.images:,} cells: {resident() - before:.0f} MiB more"
    )


if __name__ == "__main__":
    main()
