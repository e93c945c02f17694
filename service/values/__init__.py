"""Single values that strangers and operators write: names of files, URLs, hosts, addresses, secrets. Read, or refused.

Imports nothing of ``service`` but itself: the settings stand on it. Never opens a file or a connection.
"""
