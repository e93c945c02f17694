"""What a process needs of its system: logs, memory, open files, clocks, loops; and how it notices what is wrong.

Imports ``storage`` and ``failures``; never what a job or a request is.
"""
