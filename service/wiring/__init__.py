"""Settings become concrete parts: the only folder that names a backend, for the service, its worker, and every command.

Imports everything; nothing but ``cli``, ``serve`` and ``app`` imports it. Nothing is decided here.
"""
