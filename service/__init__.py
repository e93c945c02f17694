"""The HTTP service and the work behind it.

The data path:

1. ``web.uploads`` parses a request and hands its bytes to ``sink.receive``: durable in the file store, or refused.
2. ``commands.submit`` makes the job, its sources and the idempotency key one transaction.
3. The 202 leaves; then ``BackgroundTasks`` calls ``dispatcher.wake``.
4. ``work.processor.run_one`` claims a job, probes, compresses, reads back, compares, stores, and finishes it.
5. ``work.sweep`` rescues what a dead worker left, and expires what is over.
6. ``web.jobs`` and ``web.results`` show the status and give the bytes.
"""
