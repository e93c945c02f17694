"""HTTP only: the routes, one file a noun, and what stands round every request. Nothing here decides what a job is.

Imports ``intake``, ``job_document``, ``machine`` and ``storage``; never ``work``, and never a backend.
"""
