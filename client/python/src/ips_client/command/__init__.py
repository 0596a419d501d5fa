"""The command ``ips``: the client for people, scripts and pipelines."""
