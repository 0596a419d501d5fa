"""Drivers for the node's container runtime, behind the one protocol of ``protocol.py``."""
