"""The tutorial's way to take uploads: the peer that vacpack is compared with.

Idiomatic and not weakened: `UploadFile`, an aiofiles copy in pieces of 1 MiB, a row through a SQLAlchemy
session dependency, 202, then gzip in `BackgroundTasks`. It promises nothing: no fsync, and SQLite runs in WAL
with `synchronous=OFF`, so it never pays for durability. `GET /hello` is the bare route that status is
measured against.

Settings: PEER_FOLDER (required) holds files and database; PEER_GZIP=0 leaves the files as they came, so that
receiving alone can be compared.
"""

import gzip
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import aiofiles
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, UploadFile
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

PIECE_BYTES = 1 << 20


class Base(DeclarativeBase):
    pass


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[str]
    size_bytes: Mapped[int]
    result_bytes: Mapped[int | None]


def _without_durability(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")


def _sessions(folder: Path) -> sessionmaker[Session]:
    engine = create_engine(f"sqlite:///{folder / 'jobs.db'}", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _without_durability)
    Base.metadata.create_all(engine)
    return sessionmaker(engine)


def compress_file(stored: Path) -> int:
    """Write the stored file's gzip beside it; return the gzip's size in bytes."""
    result_path = stored.with_name(f"{stored.name}.gz")
    with stored.open("rb") as source, gzip.open(result_path, "wb", compresslevel=6) as result:
        shutil.copyfileobj(source, result, PIECE_BYTES)
    return result_path.stat().st_size


def compress(sessions: sessionmaker[Session], job_id: str, stored: Path) -> None:
    """Compress and mark the job; runs in the thread pool after the response."""
    result_bytes = compress_file(stored)
    with sessions() as session:
        job = session.get_one(Job, job_id)
        job.status = "succeeded"
        job.result_bytes = result_bytes
        session.commit()


def create_app() -> FastAPI:
    """Build the application; uvicorn calls it as a factory."""
    folder = Path(os.environ["PEER_FOLDER"])
    compresses = os.environ.get("PEER_GZIP", "1") != "0"
    sessions = _sessions(folder)
    app = FastAPI()

    def session_of_request() -> Iterator[Session]:
        with sessions() as session:
            yield session

    Database = Annotated[Session, Depends(session_of_request)]  # noqa: N806

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @app.post("/uploads", status_code=202)
    async def upload(file: UploadFile, background: BackgroundTasks, database: Database) -> dict[str, str]:
        job_id = uuid.uuid4().hex
        stored = folder / job_id
        async with aiofiles.open(stored, "wb") as target:
            while piece := await file.read(PIECE_BYTES):
                await target.write(piece)
        job = Job(id=job_id, name=file.filename or "", status="queued", size_bytes=file.size or 0)
        database.add(job)
        database.commit()
        if compresses:
            background.add_task(compress, sessions, job_id, stored)
        return {"id": job_id, "status": "queued"}

    @app.get("/jobs/{job_id}")
    def status(job_id: str, database: Database) -> dict[str, str | int | None]:
        job = database.get(Job, job_id)
        if job is None:
            raise HTTPException(404)
        return {
            "id": job.id,
            "name": job.name,
            "status": job.status,
            "size_bytes": job.size_bytes,
            "result_bytes": job.result_bytes,
        }

    return app
