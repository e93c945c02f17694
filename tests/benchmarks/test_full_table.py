"""The rows that the scale case fills in are such as vacpack itself would have made."""

import sqlite3
from pathlib import Path

from benchmarks.full_table import claim_milliseconds, fill, job_id
from migrations import migrate
from storage.database import sqlite_url


def test_filled_rows_keep_every_constraint_and_claims_pass_them_by(tmp_path: Path) -> None:
    path = tmp_path / "vacpack.db"
    migrate(sqlite_url(path))

    fill(path, 50)
    milliseconds = claim_milliseconds(path, count=3, series=1)

    connection = sqlite3.connect(path)
    # Also tells of a violated CHECK and of an index that misses rows.
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    statuses = connection.execute("SELECT status, count(*) FROM jobs GROUP BY status ORDER BY status").fetchall()
    assert statuses == [("running", 3), ("succeeded", 50)]
    assert connection.execute("SELECT seq FROM jobs WHERE id = ?", (job_id(50),)).fetchone() == (50,)
    assert milliseconds > 0
    connection.close()
