"""vacpack measured beside the tutorial's way, in one run on one machine.

`python -m benchmarks` (or `make bench`) runs every case and writes docs/benchmarks.md. Trust the ratios, not
the absolute numbers: client and server share the cores.

    plan, context   how much is measured, and what every case is given
    peer            the tutorial's way: what vacpack is compared with; lean_peer is the same without its ORM
    server          starts and ends either server; process_tree reads its CPU time and memory
    load, client    send uploads and polls; load is a process of its own, sink shows how fast it is
    listen          holds event streams open, and tells when each event came; also a process of its own
    full_table      fills the job table as years of use would
    rounds          interleaves both sides and takes medians; report writes the tables
    cases/          one module per case
"""
