"""Whose the folders are that a service works in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.settings import Settings
from service.start.cannot_start import CannotStart
from service.start.places import check_places
from storage.database import sqlite_url

SOMEBODY = 12_345


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("name", ["data", "files", "database"])
def test_every_folder_must_be_of_whoever_runs_it(tmp_path: Path, name: str) -> None:
    for each in ("data", "files", "database"):
        (tmp_path / each).mkdir(mode=0o700)
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        files_url=(tmp_path / "files").as_uri(),
        database_url=sqlite_url(tmp_path / "database" / "vacpack.db"),
    )
    check_places(settings)
    os.chown(tmp_path / name, SOMEBODY, -1)

    with pytest.raises(CannotStart, match=f"{tmp_path / name} belongs to user {SOMEBODY}, and this is user 0"):
        check_places(settings)
