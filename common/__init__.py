"""What the coordinator and the agent share: the wire, the bus, settings, logs, life cycle."""
