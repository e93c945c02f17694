"""The schema that migrations make is the one the models describe, however they are run and whatever interrupts them."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from migrations import configuration, migrate, newest
from storage.database import Database, sqlite_url
from storage.models import metadata
from tests.storage.child_processes import PROCESSES, migrate_together, migrate_when_ready, start, wait_for
from tests.storage.job_builder import everything, one_of_each

PROJECT = Path(__file__).parents[2]
BOOKKEEPING = {"alembic_version", "sqlite_sequence"}


def master(path: Path) -> dict[str, str]:
    """Return every table and index as it was created."""
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: sql for name, sql in rows if name not in BOOKKEEPING}


def parts(sql: str) -> list[str]:
    """Split a CREATE statement at its outer commas and sort: columns and constraints in no order."""
    flat = re.sub(r"\s+", " ", sql)
    inside = flat[flat.index("(") + 1 : flat.rindex(")")]
    depth, found = 0, [""]
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [flat[: flat.index("(")], flat[flat.rindex(")") :], *sorted(part.strip() for part in found)]


def revision(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        rows: list[tuple[str]] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()
    return rows


def alembic(folder: Path, *arguments: str) -> str:
    """Run alembic's own command line from the project's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=PROJECT,
        env=os.environ | {"VACPACK_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_migrations_make_what_the_models_describe(migrated_file: Path, tmp_path: Path) -> None:
    modelled = tmp_path / "modelled.db"
    engine = create_engine(sqlite_url(modelled))
    metadata.create_all(engine)
    engine.dispose()
    by_models, by_migrations = master(modelled), master(migrated_file)

    assert by_migrations.keys() == by_models.keys()
    for name, sql in by_models.items():
        assert parts(by_migrations[name]) == parts(sql), name


def test_alembic_finds_no_difference_between_models_and_migrations(database_path: Path) -> None:
    engine = create_engine(sqlite_url(database_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_up_down_and_up_again_leaves_the_same(migrated_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "vacpack.db"
    url = sqlite_url(path)
    migrate(url)
    first = master(path)
    migrate(url, "base")
    assert (master(path), revision(path)) == ({}, [])
    migrate(url)

    assert master(path) == first == master(migrated_file)


def test_migrating_again_keeps_everything(database: Database) -> None:
    one_of_each(database)
    before = everything(database)
    migrate(database.url.render_as_string())

    assert everything(database) == before


def test_going_down_with_jobs_in_the_table_leaves_no_row_without_its_parent(
    database: Database, database_path: Path
) -> None:
    one_of_each(database)
    database.close()
    migrate(sqlite_url(database_path), "base")

    with closing(sqlite3.connect(database_path)) as connection, connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert master(database_path) == {}


@pytest.mark.parametrize(("size_bytes", "coding"), [(8 << 20, "zstd"), ((8 << 20) + 1, None)])
def test_results_of_several_frames_lose_their_content_coding(
    database: Database, database_path: Path, size_bytes: int, coding: str | None
) -> None:
    one_of_each(database)
    database.close()
    migrate(sqlite_url(database_path), "2026_11_28_damage")
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.execute(
            "UPDATE jobs SET result_coding = 'zstd', level = 'small', source_size_bytes = ? WHERE status = 'succeeded'",
            (size_bytes,),
        )
    migrate(sqlite_url(database_path))

    with closing(sqlite3.connect(database_path)) as connection, connection:
        found = connection.execute("SELECT result_coding FROM jobs WHERE status = 'succeeded'").fetchall()
    assert found
    assert set(found) == {(coding,)}


def test_results_that_were_kept_as_they_came_have_the_checksums_of_their_sources(
    database: Database, database_path: Path
) -> None:
    one_of_each(database)
    database.close()
    migrate(sqlite_url(database_path), "2026_11_28_frames")
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.execute("UPDATE sources SET checksum = '0123456789abcdef'")
        connection.execute("UPDATE jobs SET stored_as_is = 1, result_key = 'it' WHERE status = 'succeeded'")
        connection.execute(
            "UPDATE sources SET key = 'it' WHERE job_seq = (SELECT seq FROM jobs WHERE result_key = 'it')",
        )
    migrate(sqlite_url(database_path))

    with closing(sqlite3.connect(database_path)) as connection, connection:
        found = connection.execute("SELECT DISTINCT status = 'succeeded', result_checksum FROM jobs").fetchall()
    assert sorted(found) == [(0, None), (1, "0123456789abcdef")]


def test_rows_without_their_parent_are_reported(database_path: Path) -> None:
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.execute("INSERT INTO sources(job_seq, position, name, size_bytes) VALUES (99, 0, 'a', 1)")
    connection.close()

    with pytest.raises(RuntimeError, match="without their parent"):
        command.upgrade(configuration(sqlite_url(database_path)), "head")


def test_the_command_line_agrees_and_makes_its_folder(migrated_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data 100%"
    alembic(folder, "upgrade", "head")
    path = folder / "vacpack.db"

    assert master(path) == master(migrated_file)
    assert revision(path) == revision(migrated_file)
    assert "No new upgrade operations detected" in alembic(folder, "check")
    migrate(sqlite_url(path))
    alembic(folder, "downgrade", "base")
    assert master(path) == {}


def test_two_processes_may_migrate_one_new_file_at_once(migrated_file: Path, tmp_path: Path) -> None:
    expected = master(migrated_file)
    for number in range(4):
        path = tmp_path / f"{number}.db"
        barrier = PROCESSES.Barrier(2)
        both = [start(migrate_together, sqlite_url(path), barrier) for _ in range(2)]

        assert wait_for(both) == [0, 0]
        assert master(path) == expected
        assert revision(path) == revision(migrated_file)


def test_a_migration_killed_at_any_moment_is_whole_or_not_there_and_the_next_completes_it(
    migrated_file: Path, tmp_path: Path
) -> None:
    expected = master(migrated_file)
    began = time.monotonic()
    migrate(sqlite_url(tmp_path / "timed.db"))
    usual = time.monotonic() - began
    for number in range(9):
        path = tmp_path / f"{number}.db"
        ready = PROCESSES.Event()
        process = start(migrate_when_ready, sqlite_url(path), ready)
        assert ready.wait(30)
        time.sleep(usual * number / 8)
        process.kill()
        process.join()
        left = tmp_path / f"left-{number}.db"
        for ending in ("", "-wal"):
            found = Path(f"{path}{ending}")
            if found.exists():
                shutil.copyfile(found, f"{left}{ending}")
        if path.exists():
            assert master(left) in ({}, expected)
        migrate(sqlite_url(path))

        assert master(path) == expected
        assert revision(path) == revision(migrated_file)


def test_the_last_file_by_name_is_the_newest_revision() -> None:
    scripts = ScriptDirectory.from_config(configuration("sqlite://"))
    revisions = [script.revision for script in scripts.walk_revisions()]

    assert revisions == sorted(revisions, reverse=True)
    assert [newest()] == scripts.get_heads() == revisions[:1]


def test_a_database_that_is_the_newest_is_left_alone_without_loading_alembic(database_path: Path) -> None:
    program = "import sys, migrations; migrations.migrate(sys.argv[1]); sys.exit('alembic' in sys.modules)"
    line = [sys.executable, "-c", program, sqlite_url(database_path)]

    assert subprocess.run(line, cwd=PROJECT, check=False).returncode == 0
    migrate(sqlite_url(database_path), "base")
    assert subprocess.run(line, cwd=PROJECT, check=False).returncode == 1
    assert "jobs" in master(database_path)


def test_a_file_that_is_no_database_is_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "vacpack.db"
    path.write_bytes(b"not a database, but long enough to be looked at " * 100)

    with pytest.raises(sqlite3.DatabaseError):
        migrate(sqlite_url(path))
