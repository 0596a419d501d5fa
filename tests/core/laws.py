"""The laws that the core keeps, whatever happens: invariants as code.

They judge by what the core was told and by what really is in the model world, and look into the
core only for who holds a place.
"""

from __future__ import annotations

from collections import defaultdict

from common.reasons import Reason
from common.subjects import AttemptKey
from common.texts import AGENT_DIED
from coordinator.core.changes import AttemptDecided
from coordinator.core.commands import (
    Assign,
    CancelWork,
    Command,
    FinishTask,
    StartTask,
    StoreVerdict,
)
from coordinator.core.events import AgentHeard, Event
from coordinator.core.in_flight import DECIDE_AGAIN_SECONDS, NOTICE_SECONDS
from coordinator.core.node_run import IN_FLIGHT, OVER, UNSETTLED, NodePhase, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core, Decision
from coordinator.core.task import Rollout, TaskStatus
from tests.core.hearsay import Hearsay
from tests.core.news import News, demand
from tests.core.place_laws import PlaceLaws, has_candidate, urgency
from tests.core.world import World

SAME_MOMENT = 1e-6


class Laws:
    """The judge of one world, over all its leaders."""

    _core: Core
    _said: Hearsay
    _news: News
    _places: PlaceLaws

    def __init__(self) -> None:
        self._begun: defaultdict[str, set[int]] = defaultdict(set)
        """Batches of a task that were begun under any leader."""
        self._ends: dict[str, TaskStatus] = {}
        self._follower: Laws | None = None
        """Who judges the core that follows."""
        self._has_followed = False

    def new_leader(self, world: World) -> None:
        """A new core knows nothing."""
        self._watch(world, world.core)

    def new_follower(self, world: World) -> None:
        """A new core begins beside the leader's."""
        self._follower = Laws()
        self._follower._begun = self._begun
        self._follower._watch(world, world.follower)
        self._follower._has_followed = True

    def follower_leads(self, _world: World) -> None:
        """From now on the core that has followed is judged by what it was told all the time."""
        assert self._follower is not None
        self._core, self._said = self._follower._core, self._follower._said
        self._news, self._has_followed = self._follower._news, True
        self._places = self._follower._places

    def _watch(self, world: World, core: Core) -> None:
        self._core = core
        self._said = Hearsay(world.limits.first_look)
        self._news = News()
        self._places = PlaceLaws(core, self._said, world.limits.max_concurrent_tasks)
        self._agent_wait = world.limits.agent_wait
        self._has_followed = False

    def judge_follower(self, world: World, event: Event, decision: Decision) -> None:
        """It takes everything in as a leader does, and decides nothing."""
        assert self._follower is not None
        for command in decision.commands:
            demand(isinstance(command, CancelWork), "a follower decides nothing", command)
        self._follower._judge_core(world, event, decision)

    def judge(self, world: World, event: Event, decision: Decision) -> None:
        """Take the event in, then judge every command and what is so afterwards."""
        self._judge_core(world, event, decision)
        self._judge_store(world)

    def _judge_core(self, world: World, event: Event, decision: Decision) -> None:
        self._said.take_in(event, world.now)
        demand(self._core.leads is not self._said.settling, "Settled makes the leader", event)
        for command in decision.commands:
            self._judge_command(world, command)
        for change in decision.changes:
            if isinstance(change, AttemptDecided):
                self._judge_telling(change)
        self._news.judge(self._core, decision.changes)
        self._judge_places(world, event, decision.commands)
        self._judge_holds(event, decision.commands)

    # ── commands ──

    def _judge_command(self, world: World, command: Command) -> None:
        match command:
            case Assign():
                self._judge_assign(command, world.now)
            case CancelWork():
                self._judge_cancel(command)
            case StartTask():
                self._judge_start(world, command)
            case FinishTask():
                self._judge_finish(command)
            case StoreVerdict():
                self._judge_verdict(command, world.now)
            case _:
                pass

    def _judge_assign(self, command: Assign, now: float) -> None:
        said, (task, node, attempt) = self._said, command.key
        demand(task in said.running, "only running tasks are worked on", command)
        now_is = said.standing(task, node)
        demand(now_is.verdict == "open", "a node that is over is left alone", command)
        demand(attempt == now_is.attempts + 1, "attempts follow one another", command, now_is)
        images = {image.name for image in command.images}
        demand(images == now_is.wanted, "only what may still succeed is tried", command, now_is)
        demand(now >= said.due.get(command.key, now), "a retry waits for its time", command, now)
        demand(command.instance in said.ever_heard, "work goes to agents that spoke", command)
        demand(command.instance not in said.left, "work goes to nobody who has left", command)
        demand(not said.conflict(node, now), "a node in conflict takes no work", command)
        demand(command.key not in said.verdicts, "what is being decided is not begun", command)
        demand(command.spec == said.running[task][0].spec, "the spec is the task's", command)
        said.excused.discard((command.instance, task, attempt))

    def _judge_cancel(self, command: CancelWork) -> None:
        said, task = self._said, command.task
        if not (self._has_followed and said.settling):
            said.excused.add((command.instance, task, command.attempt))
        if command.attempt is None:
            wanted = task in said.running or task in said.pending
            demand(not wanted, "a task that goes on is not stopped", command)
            return
        run = self._core.runs.get(task)
        node = run.by_name.get(command.node) if run is not None else None
        if node is not None and node.phase in IN_FLIGHT and node.attempt == command.attempt:
            holder = self._core.accepted_by(task, command.node)
            demand(holder != command.instance, "work in flight goes on", command)

    def _judge_start(self, world: World, command: StartTask) -> None:
        said, task = self._said, command.task
        demand(task in said.pending, "only pending tasks start", command)
        demand(not said.settling and said.store_is_open, "not the time to start", command)
        starting = said.pending[task]
        startable = said.startable(world.now)
        demand(task in startable, "the first look is waited for", command)
        for other in startable:
            if other != task and other not in said.starting:
                more = urgency(starting) < urgency(said.pending[other])
                demand(more, "the most urgent first", command, other)
        demand(list(command.nodes) == said.selected(starting[0]), "all that match", command)
        said.starting.add(task)

    def _judge_finish(self, command: FinishTask) -> None:
        said, task, counts = self._said, command.task, command.counts
        demand(task in said.running, "only running tasks end", command)
        head, _ = said.running[task]
        nodes = [said.standing(task, name) for name in said.members[task]]
        by = [now_is.verdict for now_is in nodes]
        failed, removed = by.count("failed"), by.count("removed")
        demand("open" not in by, "a task ends when every node is over", command, nodes)
        demand(
            (counts.completed, counts.failed, counts.removed, counts.total)
            == (by.count("succeeded"), failed, removed, len(nodes) - removed),
            "each node is counted once",
            command,
            nodes,
        )
        # Whether a removed node had begun the attempt that its removal decided is not stored.
        sure = max((n.attempts - 1 - (n.verdict == "removed") for n in nodes), default=0)
        most = max((n.attempts - 1 for n in nodes), default=0)
        demand(sure <= counts.retry_count <= most, "the highest retry is known", command, nodes)
        bad = not nodes or failed > int(head.spec.max_failed_nodes)
        status = TaskStatus.FAILED if bad else TaskStatus.COMPLETED
        demand(command.status is status, "failed nodes decide how it ends", command, nodes)
        demand(command.results_seq == said.highest[task], "all that counted is known", command)

    def _judge_verdict(self, command: StoreVerdict, now: float) -> None:
        said, (task, node, attempt) = self._said, command.key
        demand(task in said.running, "only running tasks are decided about", command)
        demand(command.key not in said.verdicts, "one verdict at a time", command)
        said.verdicts.add(command.key)
        now_is = said.standing(task, node)
        demand(now_is.verdict == "open", "what is over needs no verdict", command)
        demand(attempt == now_is.attempts + 1, "the attempt at hand is decided", command)
        if command.outcome.removed:
            demand(node not in said.nodes, "only what vanished is removed", command)
            return
        demand((task, node) in said.flying, "silence concerns who holds a place", command)
        lost = command.outcome.reason is Reason.AGENT_LOST
        if not (lost and command.outcome.message_code == AGENT_DIED.code):
            last = max(said.flying[task, node], said.shown.get(command.key, 0.0))
            silent = said.audible(now) - last
            demand(silent >= self._agent_wait - SAME_MOMENT, "silence is waited for", command)
            notice = said.audible(now) - said.settled_at
            demand(notice >= NOTICE_SECONDS - SAME_MOMENT, "who is silent is asked first", command)

    def _judge_telling(self, command: AttemptDecided) -> None:
        key = AttemptKey(command.task, command.node, command.attempt)
        demand(command.task in self._said.running, "only running tasks have news", command)
        demand(key not in self._said.told, "an outcome is told once", command)
        self._said.told.add(key)
        now_is = self._said.standing(command.task, command.node)
        verdict = command.step.value.removeprefix("node.").replace("retrying", "open")
        demand(now_is.verdict == verdict, "what is told is so", command, now_is)

    # ── who holds a place ──

    def _judge_places(self, world: World, event: Event, commands: list[Command]) -> None:
        said = self._said
        demand(self._core.runs.keys() == said.running.keys(), "running tasks are known", event)
        flying = {
            (task, node.name): node
            for task, run in self._core.runs.items()
            for node in run.nodes
            if node.phase in IN_FLIGHT
        }
        new = {place: node for place, node in flying.items() if place not in said.flying}
        for task, name in flying:
            said.flying.setdefault((task, name), said.audible(world.now))
        for place in said.flying.keys() - flying.keys():
            del said.flying[place]
        self._judge_new_places(world, event, new)
        for task, run in self._core.runs.items():
            self._judge_run(world, run)
            busy = {name for owner, name in flying if owner == task}
            if not (self._has_followed and said.settling):  # its words to stop reach nobody
                busy |= self._at_work(world, task)
            demand(len(busy) <= run.spec.batch_size, "never more than batchSize", task, busy)
        if not said.settling:
            self._places.judge(event, commands, world.now)
        if not said.settling and said.store_is_open:
            self._judge_idleness(world, {task for task, _ in new})
        self._judge_alarm(world)

    def _at_work(self, world: World, task: str) -> set[str]:
        """Nodes that really work for a task, as far as this leader could know of it."""
        said, busy = self._said, set()
        for agent in world.agents.values():
            for owner in (
                agent.at_work() if agent.alive and agent.instance in said.ever_heard else ()
            ):
                key = AttemptKey(task, agent.node, agent.held[owner].attempt)
                excuses = {(agent.instance, task, key.attempt), (agent.instance, task, None)}
                if owner == task and key not in world.store.outcomes and not excuses & said.excused:
                    busy.add(agent.node)
        return busy

    def _judge_new_places(
        self, world: World, event: Event, new: dict[tuple[str, str], NodeRun]
    ) -> None:
        said = self._said
        for (task, name), node in sorted(new.items(), key=lambda entry: entry[1].batch):
            run = self._core.runs[task]
            held = isinstance(event, AgentHeard) and any(
                (event.node, hold.task, hold.attempt) == (name, task, node.attempt)
                for hold in event.holds
            )
            if not held:
                demand(not said.settling and said.store_is_open, "not the time to begin", name)
                cap = world.limits.max_nodes_in_flight
                demand(not cap or len(said.flying) <= cap, "the cap holds", said.flying)
                if run.spec.rollout is Rollout.BATCH:
                    self._judge_batch(run, node)
            self._begun[task].add(node.batch)

    def _judge_holds(self, event: Event, commands: list[Command]) -> None:
        """Whatever an agent holds has its place, or is stopped."""
        if not isinstance(event, AgentHeard) or event.leaving or event.instance in self._said.left:
            return
        stopped = {(c.task, c.attempt) for c in commands if isinstance(c, CancelWork)}
        for hold in event.holds:
            run = self._core.runs.get(hold.task)
            node = run.by_name.get(event.node) if run is not None else None
            flies = node is not None and node.phase in IN_FLIGHT and node.attempt == hold.attempt
            is_stopped = stopped & {(hold.task, hold.attempt), (hold.task, None)}
            demand(flies or is_stopped, "held work is counted or stopped", event)

    def _judge_batch(self, run: TaskRun, node: NodeRun) -> None:
        begun = self._begun[run.head.id]
        if node.batch in begun:
            return
        for other in run.nodes:
            if other.batch < node.batch:
                demand(other.phase is not NodePhase.WAITING, "batches in their order", node.name)
            if begun and other.batch == max(begun):
                demand(other.phase not in UNSETTLED, "one batch after the other", node.name)

    def _judge_run(self, world: World, run: TaskRun) -> None:
        """Every node is where its outcomes say, and counted there."""
        by_verdict = {
            "succeeded": {NodePhase.SUCCEEDED},
            "failed": {NodePhase.FAILED},
            "removed": {NodePhase.REMOVED},
            "open": IN_FLIGHT | {NodePhase.WAITING, NodePhase.RETRYING},
        }
        counted = dict.fromkeys(NodePhase, 0)
        for node in run.nodes:
            now_is = self._said.standing(run.head.id, node.name)
            demand(node.phase in by_verdict[now_is.verdict], "nodes are what was read", node.name)
            demand(
                now_is.verdict != "open" or node.next_attempt == now_is.attempts + 1,
                "attempts are counted",
                node.name,
            )
            counted[node.phase] += 1
            if node.phase not in OVER and node.name in self._said.vanished:
                leaves = self._core._in_flight._verdicts.is_gone(run.head.id, node.name)
                demand(leaves, "what vanished leaves its tasks", run.head.id, node.name)
        demand(counted == run.in_phase, "counters count", run.head.id, counted, world.now)
        missing = {
            image.name: sum(
                node.phase not in OVER and not node.arrived(image.name) for node in run.nodes
            )
            for image in run.spec.work
        }
        demand(missing == run.missing, "what is missing is counted", run.head.id, run.missing)

    # ── nothing is forgotten ──

    def _judge_idleness(self, world: World, served: set[str]) -> None:
        """No place stays free that somebody could take, and none goes to the less urgent."""
        cap = world.limits.max_nodes_in_flight
        held = self._said.running.keys() & self._places.held
        runs = sorted(held, key=lambda task: urgency(self._said.running[task]))
        for rank, task in enumerate(runs):
            run = self._core.runs[task]
            if run.in_flight < run.spec.batch_size and has_candidate(run, world.now):
                demand(cap and len(self._said.flying) >= cap, "no place stays free", task)
                demand(not served & set(runs[rank + 1 :]), "the most urgent is served", task)

    def _judge_alarm(self, world: World) -> None:
        """Whatever is due some time, the core has asked to be woken for it."""
        said = self._said
        wake = float("inf") if world.wake is None else world.wake
        for run in self._core.runs.values():
            retry = min((n.retry_at for n in run.nodes if n.retry_at is not None), default=None)
            if retry is not None and not said.settling and said.store_is_open:
                # One that is due already and finds no place waits for an event, not for a time.
                demand(retry <= world.now or wake <= retry, "retries are woken for", retry, wake)
            for node in run.nodes:
                if node.phase in IN_FLIGHT and said.deaf_since is None:
                    attempt = self._core.in_flight[run.head.id, node.name]
                    if said.settling or attempt.key in said.verdicts:
                        continue
                    latest = said.deaf_total + attempt.alive_at + self._agent_wait + SAME_MOMENT
                    again = world.now + DECIDE_AGAIN_SECONDS
                    demand(wake <= max(latest, again), "silence is looked at", node.name)

    # ── the store ──

    def _judge_store(self, world: World) -> None:
        for task, stored in world.store.tasks.items():
            if stored.status.is_final:
                end = self._ends.setdefault(task, stored.status)
                demand(end is stored.status, "finished tasks never change", task)
