"""Reading a stream in order: an ordered pull without acknowledgements.

A nameless consumer in memory delivers from a sequence on; each delivery counts the consumer's own
sequence, so a gap shows. Whatever is amiss (gap, silence, lost connection, deleted consumer) ends
that consumer, and another is made after the last record that was handed out. Nothing is
acknowledged, so nothing depends on what an acknowledgement did to the consumer: acknowledging all
up to one lost records in two of four fail-overs (measured, as was this way: none).

A consumer may be served by a copy of the stream that is behind its leader, and takes its own end
for the stream's. So nothing finite ends before the leader has said that nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from common.backoff import Backoff
from common.bus import api
from common.bus.errors import NotConnected, StoreRefused, StoreUnavailable, StoreWentBack
from common.bus.records import Record
from common.logs import Log

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from common.bus.calls import OnAnswer
    from common.bus.records import StreamState
    from common.bus.session import Delivery, Session

log = Log(__name__)

SECOND = 1_000_000_000
"""In nanoseconds, the API's unit."""
PULL_RECORDS = 500
"""Records asked for at once. Never by bytes (``max_bytes``): a record that would pass such a limit
is skipped for good by nats-server 2.15.1, without a gap in the consumer's sequence (seen here)."""
PULL_SECONDS = 30
HEARTBEAT_SECONDS = 2
SILENCE_SECONDS = 5.0
"""Without a record or a heartbeat for so long, the consumer is given up."""
INACTIVE_SECONDS = 15
"""After so long without a pull the server removes the consumer by itself: that of a killed
program, or one whose removal overtook its creation (the server works on several at once)."""
REOPEN_CEILING = 2.0

_PATIENT_BEATS = 3
"""After so many heartbeats without a record, a copy that is behind is left for another one."""

_HEARTBEAT = "100"
_PULL_EXPIRED = "408"
_IDLE_BEATS = 2
_ACK_TOKENS = 9
_PULL = msgspec.json.encode(
    {
        "batch": PULL_RECORDS,
        "expires": PULL_SECONDS * SECOND,
        "idle_heartbeat": HEARTBEAT_SECONDS * SECOND,
    }
)


_Answer = TypeVar("_Answer", bound=api.Answer)


class JetStream(Protocol):
    """What a reading uses of ``Bus``, where each method is described."""

    @property
    def inbox(self) -> str:
        """The subject under which everything is for this program alone."""

    @property
    def session(self) -> Session:
        """The live session. Raises NotConnected."""

    def next_number(self) -> int:
        """Draw a number for ``Session.listen``."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    async def request(self, subject: str, payload: bytes, answer_type: type[_Answer]) -> _Answer:
        """Ask JetStream's API."""

    async def stream_state(self, stream: str) -> StreamState:
        """Where a stream begins and ends."""

    async def next_seq(self, stream: str, subject: str, start: int) -> int:
        """The first record on a subject from a sequence on, as the leader has it."""

    def ask(self, subject: str, payload: bytes, within: float, on_answer: OnAnswer) -> None:
        """Ask without waiting. Raises NotConnected."""


class _Amiss(Exception):  # noqa: N818 -- not an error: the consumer is replaced
    """This consumer is of no use any more."""


class _Consumer:
    """One consumer on one session, read until something is amiss."""

    def __init__(self, session: Session, stream: str, number: int, inbox: str) -> None:
        self.name = secrets.token_hex(8)
        self.pending = -1
        """Records that wait at the server behind those handed out; below 0: not known yet."""
        self._session = session
        self._inbox = inbox
        self._pull_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{self.name}"
        self._number = number
        self._records: list[Record] = []
        self._wanted = 0
        """Records that running pulls may still deliver."""
        self._consumer_seq = 0
        self._idle_beats = 0
        self._amiss = ""
        self._heard = 0.0
        self._wake = asyncio.Event()
        session.listen(number, inbox, self._receive)
        session.ended.add_done_callback(self._session_ended)

    @property
    def exhausted(self) -> bool:
        """Whether nothing more is there at this moment, as far as its copy of the stream goes.

        The count of pending records can be too high when some were removed meanwhile; then two
        heartbeats without a record between them say the same.
        """
        return self.pending == 0 or self._idle_beats >= _IDLE_BEATS

    @property
    def is_stuck(self) -> bool:
        """Whether it has brought nothing for so long that another copy may know more."""
        return self._idle_beats >= _PATIENT_BEATS

    async def take(self) -> list[Record]:
        """Wait for records, or for a heartbeat: then there are none. Raises _Amiss."""
        beats = self._idle_beats
        self._top_up()
        while not (self._records or self._amiss or self._idle_beats > beats):
            self._wake.clear()
            try:
                async with asyncio.timeout_at(self._heard + SILENCE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                self._amiss = f"silent for {SILENCE_SECONDS:g} s"
            self._top_up()
        records, self._records = self._records, []
        if self._amiss and not records:
            raise _Amiss(self._amiss)
        if records:
            self.pending = records[-1].pending
        return records

    def stop(self) -> None:
        """Take nothing more."""
        self._session.ended.remove_done_callback(self._session_ended)
        self._session.forget(self._number)

    def _top_up(self) -> None:
        # Only here, so that a slow reader has at most one and a half pulls in memory.
        if self._wanted > PULL_RECORDS // 2 or self._amiss:
            return
        try:
            self._session.send_message(self._pull_subject, _PULL, self._inbox, None)
        except NotConnected as error:
            self._amiss = str(error)
        else:
            self._wanted += PULL_RECORDS
            self._heard = asyncio.get_running_loop().time()

    def _receive(self, delivery: Delivery) -> None:
        self._heard = asyncio.get_running_loop().time()
        self._wake.set()
        if not delivery.reply:
            self._receive_status(delivery.headers or {})
        elif not self._amiss:
            consumer_seq, record = _delivered(delivery)
            self._wanted -= 1
            self._consumer_seq += 1
            self._idle_beats = 0
            if consumer_seq == self._consumer_seq:
                self._records.append(record)
            else:
                self._amiss = f"delivery {self._consumer_seq} is missing"

    def _receive_status(self, headers: Mapping[str, str]) -> None:
        status = headers.get("Status")
        if status == _HEARTBEAT:
            self._idle_beats += 1
        elif status == _PULL_EXPIRED:
            self._wanted -= int(headers.get("Nats-Pending-Messages", self._wanted))
        else:  # 409: deleted, moved or shut down; 503: not there
            self._amiss = f"status {status} {headers.get('Description', '')}"

    def _session_ended(self, ended: asyncio.Future[str]) -> None:
        self._amiss = ended.result()
        self._wake.set()


class Reading:
    """A place in a stream, and the consumer that reads on from there."""

    def __init__(
        self,
        bus: JetStream,
        stream: str,
        subjects: str | Sequence[str],
        start: int,
        *,
        last_per_subject: bool = False,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._subjects = [subjects] if isinstance(subjects, str) else list(subjects)
        self._next = start
        """The first sequence that is not handed out yet."""
        self._last_per_subject = last_per_subject
        self._consumer: _Consumer | None = None
        self._last_seq = -1
        """Where the stream ended when it was first asked; below 0: not yet."""
        self._backoff = Backoff(REOPEN_CEILING)
        self._is_proven = False
        """Whether the present consumer has brought anything."""

    async def follow(self) -> AsyncGenerator[list[Record], None]:
        """Hand out records for ever."""
        try:
            while True:
                if records := await self._take(await self._opened()):
                    yield records
        finally:
            self._close()

    async def replay(self, upto: int | None) -> AsyncGenerator[list[Record], None]:
        """Hand out what is stored up to a sequence (None: up to where the stream ends now).

        The newest of each subject has no such end: a subject written while it is read would have
        its old record gone and its new one behind the end.
        """
        try:
            while True:
                consumer = await self._opened()
                end = self._last_seq if upto is None else upto
                if self._next > end and (consumer.exhausted or not self._last_per_subject):
                    return
                if consumer.exhausted:
                    if await self._is_whole(end):
                        return
                    if consumer.is_stuck:
                        self._give_up("its copy of the stream is behind")
                        continue
                records = await self._take(consumer)
                if not self._last_per_subject:
                    records = [record for record in records if record.seq <= end]
                if records:
                    yield records
        finally:
            self._close()

    async def _is_whole(self, end: int) -> bool:
        """Whether the stream's leader has nothing that is to be handed out yet.

        Of the newest of each subject nothing at all may be left: one behind the end may have taken
        the place of one before it.
        """
        for subject in self._subjects:
            try:
                left = await self._bus.next_seq(self._stream, subject, self._next)
            except StoreUnavailable as error:
                log.info("its end is not known yet", stream=self._stream, why=str(error))
                return False
            if left and (left <= end or self._last_per_subject):
                return False
        return True

    def _give_up(self, why: str) -> None:
        log.info("reading anew", stream=self._stream, start=self._next, why=why)
        self._close()

    async def _take(self, consumer: _Consumer) -> list[Record]:
        """Take what comes next; nothing where nothing is there, or the consumer was given up."""
        try:
            records = await consumer.take()
        except _Amiss as amiss:
            self._give_up(str(amiss))
            return []
        if records:
            if not self._is_proven:
                self._is_proven = True
                self._backoff.reset()
            records = [record for record in records if record.seq >= self._next]
        if records:
            self._next = records[-1].seq + 1
        return records

    async def _opened(self) -> _Consumer:
        while self._consumer is None:
            await self._bus.wait_connected()
            await asyncio.sleep(self._backoff.next())
            try:
                await self._open()
            except (NotConnected, StoreUnavailable) as error:
                self._close()
                log.info("cannot be read yet", stream=self._stream, why=str(error))
            except StoreRefused as error:
                self._close()
                if self._last_seq < 0:  # it never worked: no such stream, no such filter
                    raise
                log.warning("cannot be read any more", stream=self._stream, why=str(error))
        return self._consumer

    async def _open(self) -> None:
        number = self._bus.next_number()
        inbox = f"{self._bus.inbox}.read.{number}"
        consumer = _Consumer(self._bus.session, self._stream, number, inbox)
        self._consumer, self._is_proven = consumer, False
        created = await self._bus.request(
            f"$JS.API.CONSUMER.CREATE.{self._stream}.{consumer.name}",
            msgspec.json.encode(
                {"stream_name": self._stream, "config": self._config(consumer.name)}
            ),
            api.ConsumerCreated,
        )
        consumer.pending = created.num_pending
        state = await self._bus.stream_state(self._stream)
        if state.last_seq < self._next - 1:
            raise StoreWentBack(
                f"{self._stream} ends at {state.last_seq}, but {self._next - 1} was read already"
            )
        if self._last_seq < 0:
            self._last_seq = state.last_seq

    def _config(self, name: str) -> dict[str, Any]:
        where = (
            {"deliver_policy": "last_per_subject"}
            if self._last_per_subject
            else {"deliver_policy": "by_start_sequence", "opt_start_seq": max(self._next, 1)}
        )
        return where | {
            "name": name,
            "filter_subjects": self._subjects,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": INACTIVE_SECONDS * SECOND,
        }

    def _close(self) -> None:
        """Remove the consumer, here and at the server, without waiting for it."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        consumer.stop()
        with contextlib.suppress(NotConnected):
            self._bus.ask(
                f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer.name}",
                b"",
                SILENCE_SECONDS,
                lambda _: None,
            )


def _delivered(delivery: Delivery) -> tuple[int, Record]:
    """Read what a consumer delivers: its own sequence (from 1), and the record.

    They stand in the reply subject: ``$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.
    <consumer seq>.<nanoseconds>.<pending>``; its second form (nats-server 2.15) has two tokens
    more in front of the stream, domain and account, and one behind.
    """
    tokens = delivery.reply.split(".")
    first = 5 if len(tokens) == _ACK_TOKENS else 7
    seq, consumer_seq, nanoseconds, pending = tokens[first : first + 4]
    record = Record(
        subject=delivery.subject,
        data=delivery.data,
        seq=int(seq),
        time=int(nanoseconds) / 1e9,
        headers=delivery.headers or {},
        pending=int(pending),
    )
    return int(consumer_seq), record
