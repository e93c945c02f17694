"""Jobs as rows: every change to them and every read, what workers hold, and whose turn it is.

Imports ``storage.messages``, as a job's end is told in the transaction that ends it; never ``storage.files``.
"""
