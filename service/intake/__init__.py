"""An upload's life without HTTP: who may come in, where the bytes go, and the change that makes them a job.

Imports ``storage``, ``codecs`` for checksums, and what stands at the top of ``service``; never ``web`` or ``work``.
"""
