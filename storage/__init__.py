"""What survives a restart: the job table and the stored files. Imports nothing from ``service``.

Data flows ``file_store`` (bytes durable) -> ``database.transaction`` -> ``job_table`` (the row that names them).
"""
