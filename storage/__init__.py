"""What survives a restart: tables and stored files, and the only place that commits.

Imports nothing of ``service``.

Data flows ``files`` (bytes durable) -> ``database.transaction`` -> ``jobs`` (the row that names them).
"""
