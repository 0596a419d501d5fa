"""A fleet in one process: a bus in memory and an event loop in virtual time.

Nothing here opens a port or waits. ``time`` has the loop, ``server`` pretends to be one
nats-server, ``bus`` is a program's connection to it, ``link`` is what can go wrong between. A run
is determined by its seeds, as long as the programs draw what is random from sources that are seeded
and order nothing by the hashes of strings (set ``PYTHONHASHSEED`` where they might).
"""
