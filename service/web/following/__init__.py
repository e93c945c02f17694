"""A job as it changes: its status exactly fresh, requests held until it does, and streams of events.

Imports ``storage`` to read and ``job_document`` to show; never writes, and never decides who may look.
"""
