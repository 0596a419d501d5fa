"""Who may connect to NATS, and what they may do there: the coordinators' answers to its servers."""
