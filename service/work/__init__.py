"""The background half: what happens to a job after its 202. Nothing here knows HTTP.

Imports ``codecs``, ``telling``, ``machine`` and ``storage``; never ``web``.

1. ``embedded_worker`` starts a child process, ``child``, watches it, wakes it, and starts it again when it dies.
2. ``worker`` in the child claims jobs, tells the table how they come along, and gives them back when it must stop.
3. ``processor`` runs one attempt: ``result_maker`` compresses, stores and proves, then one transaction ends it.
4. ``sweep`` takes up what dead workers left, expires what is over, and removes files that no row names.
"""
