"""What must be right before anything is begun: the settings file, folders and who owns them, secrets, sockets, streams.

Imports ``settings``, ``machine`` and ``storage``. What is wrong is one line for the operator; never a request or a job.
"""
