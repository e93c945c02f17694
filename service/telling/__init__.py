"""Telling others that a job has ended: the outbox emptied, webhooks, e-mail, and the safe ways out of this machine.

Imports ``storage.messages``, ``job_document``, ``machine`` and ``values``; never ``web`` or ``work``.
"""
