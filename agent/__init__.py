"""The agent: pulls images on one node, through its container runtime."""
