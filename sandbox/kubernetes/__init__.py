"""Kubernetes on one machine, of real parts: an API server alone, or a whole cluster."""
