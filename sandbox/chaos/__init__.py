"""Real processes, and all that can happen to them: ``make chaos MINUTES=15``.

A cluster of NATS, coordinators and agents is harmed while users create tasks, cancel them and keep
warm sets; when all is mended, a ledger compares what was submitted with what each agent did and
what each listener heard.
"""
