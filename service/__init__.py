"""The HTTP service and the work behind it; at its top the program's commands, its settings, and the words all use.

Imports ``storage``. One way: ``cli``, ``serve``, ``app``, ``wiring``; then ``web`` and ``work``; then ``intake``,
``telling`` and ``start``; then ``machine``, ``codecs`` and ``values``. Only ``wiring`` names a backend.

The path of an upload:

1. ``web.uploads`` reads a request and has its bytes go through ``intake.sink``: durable in the file store, or refused.
2. ``intake.commands.submit`` makes the job, its sources and the idempotency key one transaction.
3. The 202 leaves; then ``BackgroundTasks`` has the worker woken: ``intake.dispatch``.
4. ``work.processor`` claims the job, compresses, reads back, compares, stores, and finishes it.
5. ``work.sweep`` takes up what dead workers left, and expires what is over; ``telling`` tells of the end.
6. ``web.jobs`` and ``web.results`` show the status and give the bytes.
"""
