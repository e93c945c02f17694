"""The tutorial's way without its ORM: a second, stronger peer for the case of many small uploads.

The same `UploadFile`, aiofiles copy and gzip in `BackgroundTasks` as `benchmarks/peer.py`, but the row is written
through one plain sqlite3 connection on the event loop, without a session dependency: a session for each request costs
the peer more than everything else it does with 4 KiB. Same settings as the peer.
"""

import os
import sqlite3
import uuid
from pathlib import Path

import aiofiles
from fastapi import BackgroundTasks, FastAPI, HTTPException, UploadFile

from benchmarks.peer import PIECE_BYTES, compress_file

TABLE = "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, name, status, size_bytes, result_bytes)"


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "lean.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(TABLE)
    return connection


def create_app() -> FastAPI:
    """Build the application; uvicorn calls it as a factory."""
    folder = Path(os.environ["PEER_FOLDER"])
    compresses = os.environ.get("PEER_GZIP", "1") != "0"
    rows = _connect(folder)
    app = FastAPI()

    def compress(job_id: str, stored: Path) -> None:
        result_bytes = compress_file(stored)
        rows.execute("UPDATE jobs SET status='succeeded', result_bytes=? WHERE id=?", (result_bytes, job_id))

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @app.post("/uploads", status_code=202)
    async def upload(file: UploadFile, background: BackgroundTasks) -> dict[str, str]:
        job_id = uuid.uuid4().hex
        stored = folder / job_id
        async with aiofiles.open(stored, "wb") as target:
            while piece := await file.read(PIECE_BYTES):
                await target.write(piece)
        rows.execute("INSERT INTO jobs VALUES (?, ?, 'queued', ?, NULL)", (job_id, file.filename, file.size))
        if compresses:
            background.add_task(compress, job_id, stored)
        return {"id": job_id, "status": "queued"}

    @app.get("/jobs/{job_id}")
    async def status(job_id: str) -> dict[str, str]:
        found = rows.execute("SELECT status FROM jobs WHERE id=?", (job_id,)).fetchone()
        if found is None:
            raise HTTPException(404)
        return {"id": job_id, "status": found[0]}

    return app
