"""The synchronous face: urllib3 under the conversations of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from ips_client import (
    events,
    purge_requests,
    purge_service,
    requests,
    service,
    set_requests,
    set_service,
    watching,
)
from ips_client.documents import (
    AuditEntries,
    AuditEntry,
    Cancelled,
    Event,
    LiveAgents,
    LiveNodes,
    Node,
    Reset,
    Task,
    TaskNode,
)
from ips_client.errors import UnexpectedAnswer
from ips_client.http_urllib3 import Urllib3Transport
from ips_client.paging import fetch
from ips_client.picture import Progress
from ips_client.purge_documents import Purge, PurgeNode
from ips_client.server import DEFAULT_SERVER, Server, Session, Token
from ips_client.set_documents import SetDeleted, SetNode, SetRefreshing, WarmSet
from ips_client.talk import Course, Emit, LinkFailure, Talk
from ips_client.watching import Waited

if TYPE_CHECKING:
    from datetime import datetime
    from ssl import SSLContext

    from typing_extensions import Self, Unpack

T = TypeVar("T")


class Client:
    """Talks to one service; every method blocks. May be used from several threads.

    ``server`` is ``http(s)://[user:password@]host[:port][/path]``. Each method raises what
    ``ips_client.errors`` lists: ``ServerUnreachable`` and ``Unavailable`` after having tried for
    ``patience`` seconds (``follow_patience`` while a task or a set is waited for or events are
    followed),
    ``Refused`` with the service's problem, ``UnexpectedAnswer`` where something else answers.
    ``token`` is sent to this server alone, as ``Authorization: Bearer``; a function is asked for
    it before each request. ``ssl_context`` is one of ``ips_client.tls.context``, or your own.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        timeout: float = 30.0,
        patience: float = 10.0,
        follow_patience: float = 300.0,
        token: Token | None = None,
        headers: Mapping[str, str] | None = None,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._session = Session(
            Server.parse(server), timeout, patience, follow_patience, dict(headers or {}), token
        )
        self._transport = Urllib3Transport(self._session, ssl_context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. What is under way, in other threads too, and calls after this raise Closed."""
        self._transport.close()

    # ── tasks ──

    def create(
        self,
        images: Sequence[str],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[requests.TaskOptions],
    ) -> Task:
        """Create a task; however often the request must be sent, it is one task."""
        body = requests.task_body(images, options)
        return self.send(requests.create_task(body, idempotency_key), Task)

    def get(self, task_id: str) -> Task:
        """One task, with the first 100 of its failed nodes."""
        return self.send(requests.get_task(task_id), Task)

    def list(self, status: str | None = None) -> Iterator[Task]:
        """Every task (of one status), newest first, page after page."""
        return self._iterate(service.tasks(self._session, status))

    def cancel(self, task_id: str) -> Cancelled:
        """Cancel a pending or running task. Raises Conflict where it is over."""
        return self._finish(service.cancel(self._session, task_id))

    def pause(self, task_id: str) -> Task:
        """Let no new node of a running task begin. Raises Conflict where it does not run."""
        return self.send(requests.pause_task(task_id), Task)

    def resume(self, task_id: str) -> Task:
        """Let a paused task go on. Raises Conflict where it does not run."""
        return self.send(requests.resume_task(task_id), Task)

    def retry(
        self, task_id: str, *, nodes: str = "failed", idempotency_key: str | None = None
    ) -> Task:
        """Make a new task of a finished one, for its ``failed`` nodes or for ``all`` it selects."""
        return self.send(requests.retry_task(task_id, nodes, idempotency_key), Task)

    def task_nodes(self, task_id: str, states: Sequence[str] = ()) -> Iterator[TaskNode]:
        """A task's nodes (in some states), ordered by batch, then name."""
        return self._iterate(service.task_nodes(self._session, task_id, states))

    # ── nodes ──

    def nodes(self, selector: str = "") -> Iterator[Node]:
        """Every node that a label selector matches, ordered by name."""
        return self._iterate(service.nodes(self._session, selector))

    def node(self, name: str) -> Node:
        """One node."""
        return self.send(requests.get_node(name), Node)

    def audit(
        self,
        user: str | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Who changed what, and who was refused, the newest first; 100 where no limit is said."""
        request = requests.list_audit(user, since, limit=limit)
        return (self.send(request, AuditEntries)).entries

    # ── warm sets ──

    def sets(self) -> Iterator[WarmSet]:
        """Every warm set, ordered by name."""
        return self._iterate(set_service.sets(self._session))

    def get_set(self, name: str) -> WarmSet:
        """One set, with its nodes counted by state."""
        return self.send(set_requests.get_set(name), WarmSet)

    def put_set(
        self, name: str, images: Sequence[str], **options: Unpack[set_requests.SetOptions]
    ) -> WarmSet:
        """Create a set or replace it whole; the same again changes nothing."""
        return self.send(set_requests.put_set(name, requests.task_body(images, options)), WarmSet)

    def delete_set(self, name: str, *, purge: bool = False) -> SetDeleted:
        """Delete a set; its images stay, or are taken off its nodes by a ``purge``."""
        return self._finish(set_service.delete(self._session, name, purge=purge))

    def refresh_set(self, name: str) -> SetRefreshing:
        """Have a set's tags looked at again; what has moved is followed."""
        return self.send(set_requests.refresh_set(name), SetRefreshing)

    def set_nodes(self, name: str, states: Sequence[str] = ()) -> Iterator[SetNode]:
        """A set's nodes (in some states), ordered by name: warm, or why not."""
        return self._iterate(set_service.set_nodes(self._session, name, states))

    def wait_set(
        self,
        name: str,
        *,
        at_least: float = 100.0,
        time_limit: float | None = None,
        on_progress: Callable[[WarmSet], object] | None = None,
    ) -> WarmSet:
        """Wait until this percentage of a set's nodes is warm. Raises SetTimeLimit."""
        talk = set_service.wait(self._session, name, at_least, time_limit)
        return self._finish(talk, on_progress)

    # ── purges ──

    def purge(self, images: Sequence[str], **options: Unpack[purge_requests.PurgeOptions]) -> Purge:
        """Begin to take images off nodes; without options of nodes, off all of them."""
        body = requests.task_body(images, options)
        return self.send(purge_requests.create_purge(body), Purge)

    def wait_purge(
        self, purge_id: str, *, on_progress: Callable[[Purge], object] | None = None
    ) -> Purge:
        """Wait until a purge is over."""
        return self._finish(purge_service.wait(self._session, purge_id), on_progress)

    def purge_nodes(self, purge_id: str) -> Iterator[PurgeNode]:
        """What became of a purge on each node that is known by now, ordered by name."""
        return self._iterate(purge_service.nodes(self._session, purge_id))

    # ── as it happens ──

    def events(
        self,
        task_id: str | None = None,
        *,
        live: bool = False,
        after: str | None = None,
        sets: bool = False,
    ) -> Iterator[Event | LiveNodes | LiveAgents | Reset]:
        """Events of one task until it is over, or of all for ever; a lost connection is resumed.

        One task's events begin with the kept ones, those of all begin now; ``after`` is the
        position of an earlier ``Event``. ``live`` adds frames of what changes each second, ``sets``
        the events of warm sets to those of all. A ``Reset`` says that events may have been missed.
        """
        talk = events.follow(self._session, task_id, live=live, after=after, sets=sets)
        return self._iterate(talk)

    def watch(self, task_id: str, *, time_limit: float | None = None) -> Iterator[Progress]:
        """A task's progress whenever there is news; the last one is over. Raises TimeLimit."""
        return self._iterate(watching.watch(self._session, task_id, time_limit))

    def wait(
        self,
        task_id: str,
        *,
        time_limit: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Waited:
        """Wait until a task is over; says which nodes failed and why. Raises TimeLimit."""
        talk = watching.watch(self._session, task_id, time_limit)
        return self._finish(talk, on_progress)

    def send(self, request: requests.Request, shape: type[service.D]) -> service.D:
        """What any request of ``ips_client.requests`` gets, as a shape of ``documents``."""
        return self._finish(service.one(self._session, request, shape))

    def ask(self, request: requests.Request) -> dict[str, Any]:
        """The document, as it is sent, that any request of ``ips_client.requests`` gets."""
        return self._finish(fetch(self._session, request))

    # ── carrying it out ──

    def _finish(self, talk: Talk[T], on_value: Callable[[Any], object] | None = None) -> T:
        course = Course(talk)
        for value in self._run(course):
            if on_value is not None:
                on_value(value)
        return course.result

    def _iterate(self, talk: Talk[Any]) -> Iterator[Any]:
        return self._run(Course(talk))

    def _run(self, course: Course[Any]) -> Iterator[Any]:
        with closing(course):
            while (instruction := course.step()) is not None:
                if isinstance(instruction, Emit):
                    yield instruction.value
                    continue
                try:
                    course.answer = self._transport.carry_out(instruction)
                except (LinkFailure, UnexpectedAnswer) as failure:
                    course.failure = failure
