"""Credentials of registries that callers have given the service to use for their tasks."""
