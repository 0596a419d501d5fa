"""What NATS, coordinators and agents know one another by, in Secrets of Kubernetes."""
