"""Who may use a folder of files, as an operator meets it: wrong settings, missing disks, restored and copied databases.

Nothing that a row names may be deleted by any of it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.database import sqlite_url
from tests.acceptance.asking import ask, job_at, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_cli import vacpack


@pytest.fixture
def service(start_service: StartService) -> ServiceProcess:
    """A service with five results."""
    service = start_service()
    for number in range(5):
        succeeded(service.url, upload(service.url, b"%d" % number * 1000)["id"])
    until(lambda: service.stored() == service.named(), what="results only")
    return service


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[ServiceProcess]:
    """Another process, in a place of its own unless it is told otherwise."""
    process = ServiceProcess(tmp_path / "beside")
    yield process
    process.kill()


def copy_database(service: ServiceProcess, to: Path) -> Path:
    with closing(sqlite3.connect(service.data_dir / "vacpack.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(to),))
    return to


def says_no(process: ServiceProcess, *command: str) -> str:
    """Run a command that must refuse to begin; return its one line."""
    process.launch(*command)
    assert process.wait() == 1, process.log()
    lines = process.log().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


SERVE = ("serve", "--port", "0")


@pytest.mark.parametrize("command", [("work",), ("migrate",), SERVE])
def test_a_database_that_was_emptied_is_no_new_one(
    service: ServiceProcess, beside: ServiceProcess, command: tuple[str, ...]
) -> None:
    """What a copy to a full disk leaves: made into a database it would only be in the way of the backup."""
    emptied = beside.folder / "other.db"
    beside.folder.mkdir(exist_ok=True)
    emptied.touch()
    beside.settings |= {
        "VACPACK_DATABASE_URL": sqlite_url(emptied),
        "VACPACK_FILES_URL": (service.data_dir / "files").as_uri(),
    }

    assert "belong to one" in says_no(beside, *command)
    assert emptied.stat().st_size == 0


@pytest.mark.parametrize("command", [("work",), ("sweep",), SERVE])
def test_a_process_with_another_database_is_refused_and_removes_nothing(
    service: ServiceProcess, beside: ServiceProcess, command: tuple[str, ...]
) -> None:
    stored = service.stored()
    beside.settings |= {
        "VACPACK_DATABASE_URL": sqlite_url(beside.folder / "other.db"),
        "VACPACK_FILES_URL": (service.data_dir / "files").as_uri(),
    }

    line = says_no(beside, *command)

    assert "belong to one" in line
    assert str(service.data_dir / "files") in line
    assert not (beside.folder / "other.db").exists(), "nothing stands in the way of the one that is put back"
    assert vacpack(beside.folder, "migrate", DATABASE_URL=sqlite_url(beside.folder / "other.db")).returncode == 0
    assert "belong to another database" in says_no(beside, *command)
    assert service.stored() == stored


def test_a_worker_that_starts_while_the_database_is_away_removes_nothing(service: ServiceProcess) -> None:
    stored = service.stored()
    assert service.stop() == 0
    (service.data_dir / "vacpack.db").rename(service.folder / "being-restored.db")

    says_no(service, "work")

    (service.folder / "being-restored.db").rename(service.data_dir / "vacpack.db")
    service.start()
    assert service.stored() == stored == service.named()


@pytest.mark.parametrize("command", [("work",), ("sweep",), SERVE])
def test_a_copy_of_the_database_is_not_used_beside_the_original(
    service: ServiceProcess, beside: ServiceProcess, command: tuple[str, ...]
) -> None:
    beside.folder.mkdir()
    copy = copy_database(service, beside.folder / "copy.db")
    later = succeeded(service.url, upload(service.url, b"not in the copy" * 100)["id"])
    beside.settings |= {
        "VACPACK_DATABASE_URL": sqlite_url(copy),
        "VACPACK_FILES_URL": (service.data_dir / "files").as_uri(),
    }

    assert "another copy" in says_no(beside, *command)

    assert ask(f"{service.url}/jobs/{later['id']}/original").body == b"not in the copy" * 100


def test_two_services_with_the_same_files_and_other_data_folders_do_not_meet(
    service: ServiceProcess, beside: ServiceProcess
) -> None:
    beside.settings |= {
        "VACPACK_DATABASE_URL": sqlite_url(service.data_dir / "vacpack.db"),
        "VACPACK_FILES_URL": (service.data_dir / "files").as_uri(),
    }

    assert "another vacpack serves the files" in says_no(beside, *SERVE)

    # Hands without a door are welcome.
    beside.launch("work")
    until(lambda: len(service.rows("SELECT id FROM workers")) == 2, what="a second worker")
    assert beside.stop() == 0


def test_two_services_with_the_same_database_and_other_files_do_not_meet(
    start_service: StartService, beside: ServiceProcess
) -> None:
    service = start_service()
    beside.settings |= {"VACPACK_DATABASE_URL": sqlite_url(service.data_dir / "vacpack.db")}

    assert "another folder" in says_no(beside, *SERVE)

    succeeded(service.url, upload(service.url, b"x")["id"])


@pytest.mark.parametrize("is_there", [False, True])
def test_files_whose_disk_is_not_mounted_are_waited_for(service: ServiceProcess, *, is_there: bool) -> None:
    files, elsewhere = service.data_dir / "files", service.folder / "disk"
    assert service.stop() == 0
    files.rename(elsewhere)
    if is_there:
        files.mkdir()

    for command in (SERVE, ("work",), ("sweep",)):
        line = says_no(service, *command)
        assert "not mounted?" in line
        assert str(files) in line

    assert files.exists() == is_there
    if is_there:
        files.rmdir()
    elsewhere.rename(files)
    service.start()
    assert service.stored() == service.named()


def test_an_operator_may_go_on_without_the_files(service: ServiceProcess) -> None:
    assert service.stop() == 0
    files = service.data_dir / "files"
    shutil.rmtree(files)
    assert "put the word adopt into" in says_no(service, *SERVE)
    files.mkdir()
    (files / "owner").write_text("adopt\n")

    service.start()

    assert succeeded(service.url, upload(service.url, b"new")["id"])


def test_an_older_database_beside_newer_files_loses_nothing_for_a_day(service: ServiceProcess) -> None:
    old, new = service.folder / "old.db", service.folder / "new.db"
    copy_database(service, old)
    known = service.stored()
    later = [succeeded(service.url, upload(service.url, b"later %d" % n * 500)["id"]) for n in range(3)]
    until(lambda: service.stored() == service.named(), what="results only")
    unknown = service.stored() - known
    assert service.stop() == 0
    table = service.data_dir / "vacpack.db"
    table.rename(new)

    shutil.copy(old, table)
    service.start()
    assert service.stored() == known
    assert service.set_aside() == unknown
    assert service.stop() == 0

    table.unlink()
    new.rename(table)
    service.start()
    assert (service.stored(), service.set_aside()) == (known | unknown, set())
    for number, job in enumerate(later):
        assert ask(f"{service.url}/jobs/{job['id']}/original").body == b"later %d" % number * 500


def test_a_job_that_ran_in_the_older_database_does_not_lose_its_result_of_the_newer_one(
    start_service: StartService,
) -> None:
    """Its attempt is over for the older one, and may run again: either would remove what has the same key."""
    service = start_service(embedded_worker=False)
    job = upload(service.url, b"the only copy" * 1000)
    old, new = copy_database(service, service.folder / "old.db"), service.folder / "new.db"
    worker = ServiceProcess(service.folder)
    worker.launch("work")
    succeeded(service.url, job["id"])
    until(lambda: len(service.stored()) == 1, what="its result alone")
    assert (worker.stop(), service.stop()) == (0, 0)
    table = service.data_dir / "vacpack.db"
    table.rename(new)

    shutil.copy(old, table)
    service.settings |= {"VACPACK_EMBEDDED_WORKER": "true"}
    service.start()
    until(lambda: job_at(service.url, job["id"])["status"] == "failed", what="a job without its source")
    assert service.stop() == 0

    table.unlink()
    new.rename(table)
    service.start()
    assert ask(f"{service.url}/jobs/{job['id']}/original").body == b"the only copy" * 1000


def test_without_a_quarantine_files_go_at_once(service: ServiceProcess) -> None:
    assert service.stop() == 0
    stray = service.data_dir / "files" / f"s-{'a' * 26}"
    stray.write_bytes(b"stray")
    service.settings |= {"VACPACK_QUARANTINE_SECONDS": "0"}

    service.start()

    assert service.stored() == service.named()
    assert service.set_aside() == set()


def test_what_was_set_aside_goes_when_its_time_is_over(service: ServiceProcess) -> None:
    assert service.stop() == 0
    stray = service.data_dir / "files" / f"s-{'a' * 26}"
    stray.write_bytes(b"stray")
    service.start()
    assert service.set_aside() == {stray.name}

    def swept() -> bool:
        done = vacpack(service.folder, "sweep", QUARANTINE_SECONDS="0.5")
        assert done.returncode == 0, done.stderr
        return not service.set_aside()

    until(swept, what="its time over")
    assert service.stored() == service.named()
