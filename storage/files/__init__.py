"""Stored bytes: the contract of a file store, its folder, and whose files a folder holds.

Imports ``storage`` and, to find out whose files they are, ``storage.jobs``; never ``service``.
"""
