"""Messages that tell of a job's end, as rows: whom to tell, what is due, and how each delivery ended.

Imports ``storage``; never ``storage.jobs``.
"""
