"""What browsers are shown: templates, sentences about a job, the reader's language, and the keys a browser keeps.

Imports ``language`` and ``job_document``; never writes, and never decides who may do what.
"""
