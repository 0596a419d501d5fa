"""The settings of every stream and bucket. Their names and subjects are in ``subjects``."""

from __future__ import annotations

from common import subjects
from common.bus.records import StreamConfig

NANOSECONDS = 1_000_000_000


def definitions(
    replicas: int,
    events_max_bytes: int = subjects.EVENTS_MAX_BYTES,
    first_seq: int = 0,
    *,
    audit_max_bytes: int = subjects.AUDIT_MAX_BYTES,
    audit_days: int = subjects.AUDIT_MAX_DAYS,
) -> tuple[StreamConfig, ...]:
    """All that the service stores, each on so many servers (1, 3 or 5).

    NATS sets ``events_max_bytes`` and ``audit_max_bytes`` aside at once: a store with less room
    refuses the stream.
    ``first_seq`` should grow with each new store (milliseconds since 1970 will do): then no SSE
    client takes its position in a former store for one in this, and no agent a new leader's epoch
    for an older one.
    """
    return (
        StreamConfig(
            name=subjects.RESULTS,
            subjects=(subjects.ALL_RESULTS,),
            num_replicas=replicas,
            allow_direct=True,
        ),
        StreamConfig(
            name=subjects.EVENTS,
            subjects=(subjects.ALL_EVENTS,),
            num_replicas=replicas,
            max_age=subjects.EVENTS_MAX_AGE_SECONDS * NANOSECONDS,
            max_bytes=events_max_bytes,
            first_seq=first_seq,
            allow_direct=True,
            allow_atomic=True,
        ),
        StreamConfig(
            name=subjects.AUDIT,
            subjects=(subjects.ALL_AUDIT,),
            num_replicas=replicas,
            max_age=audit_days * 24 * 3600 * NANOSECONDS,
            max_bytes=audit_max_bytes,
            allow_direct=True,
            deny_delete=True,
        ),
        _bucket(subjects.TASKS_BUCKET, replicas),
        _bucket(subjects.LISTS_BUCKET, replicas),
        _bucket(subjects.SETS_BUCKET, replicas),
        _bucket(subjects.SET_NOTES_BUCKET, replicas),
        _bucket(subjects.CREDENTIALS_BUCKET, replicas),
        _bucket(subjects.PURGES_BUCKET, replicas, allow_msg_ttl=True),
        _bucket(subjects.KEYS_BUCKET, replicas, allow_msg_ttl=True),
        _bucket(subjects.NODES_BUCKET, replicas, allow_msg_ttl=True),
        _bucket(subjects.LEASE_BUCKET, replicas, allow_msg_ttl=True, first_seq=first_seq),
    )


def _bucket(
    name: str, replicas: int, *, allow_msg_ttl: bool = False, first_seq: int = 0
) -> StreamConfig:
    """Describe a bucket as NATS's own tools make it, one value a key.

    No limit markers (``subject_delete_marker_ttl``): with one in place a key cannot be created
    after its time to live (facts measured on nats-server 2.15).
    """
    return StreamConfig(
        name=f"KV_{name}",
        subjects=(f"$KV.{name}.>",),
        num_replicas=replicas,
        max_msgs_per_subject=1,
        discard="new",
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_msg_ttl=allow_msg_ttl,
        first_seq=first_seq,
    )
