"""A nats-server of the coordinator's own: found, started as a child, restarted, ended with it."""

from coordinator.embedded_nats.server import EmbeddedNats, EmbeddedSettings

__all__ = ["EmbeddedNats", "EmbeddedSettings"]
