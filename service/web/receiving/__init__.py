"""What an upload says and sends: its head, its options, and its body, raw or a form's parts, made durable files.

Imports ``intake`` and ``web.http``; never the database: what has been received becomes a job elsewhere.
"""
