"""A folder of files belongs to one database, and is used by nobody who cannot show that it is theirs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from migrations import migrate
from storage.database import Database, sqlite_url
from storage.errors import FilesRefused, FilesServed, StorageLost
from storage.files.file_owner import ADOPT, MARKER, SERVING, FileOwner, is_owner
from tests.storage import job_builder

OpenAt = Callable[[Path], Database]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "files"


@pytest.fixture
def database_at() -> Iterator[OpenAt]:
    """Opens a database at its newest schema."""
    with ExitStack() as stack:

        def open_at(path: Path) -> Database:
            migrate(sqlite_url(path))
            return stack.enter_context(closing(Database(sqlite_url(path))))

        yield open_at


@pytest.fixture
def database(tmp_path: Path, database_at: OpenAt) -> Database:
    return database_at(tmp_path / "a.db")


@pytest.fixture
def other(tmp_path: Path, database_at: OpenAt) -> Database:
    return database_at(tmp_path / "b.db")


def copy_of(database: Database, path: Path, database_at: OpenAt) -> Database:
    with closing(database.engine.raw_connection()) as connection:
        connection.cursor().execute("VACUUM INTO ?", (str(path),))
    return database_at(path)


def take_and_close(database: Database, folder: Path) -> None:
    FileOwner(database, folder).close()


def refusal(database: Database, folder: Path, **options: bool) -> str:
    with pytest.raises(FilesRefused) as refused:
        FileOwner(database, folder, **options)
    return str(refused.value)


def test_a_new_folder_becomes_the_databases_and_stays_so(database: Database, folder: Path) -> None:
    with closing(FileOwner(database, folder)) as owner:
        owner.check()
    with closing(FileOwner(database, folder)) as owner:
        owner.check()

    assert folder.stat().st_mode & 0o777 == 0o700
    assert is_owner(database, folder)


def test_another_database_is_refused_and_changes_nothing(database: Database, other: Database, folder: Path) -> None:
    take_and_close(database, folder)
    mark = (folder / MARKER).read_bytes()

    assert "belong to another database" in refusal(other, folder)

    assert not is_owner(other, folder)
    assert (folder / MARKER).read_bytes() == mark
    take_and_close(database, folder)


def test_a_database_that_lost_its_number_is_another_one(database: Database, folder: Path) -> None:
    take_and_close(database, folder)
    with database.transaction() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 0")

    assert "belong to another database" in refusal(database, folder)


@pytest.mark.parametrize("mark", ["", "\n", "yes\n", "0\n", "12 34\n", "\0\0\0"])
def test_a_mark_that_says_nothing_belongs_to_nobody(database: Database, folder: Path, mark: str) -> None:
    take_and_close(database, folder)
    (folder / MARKER).write_text(mark)

    assert str(folder / MARKER) in refusal(database, folder)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_without_a_mark_is_not_taken_for_one_whose_files_rows_name(
    database: Database, folder: Path, *, is_there: bool
) -> None:
    job_builder.submit(database)
    if is_there:
        folder.mkdir(parents=True)

    said = refusal(database, folder)

    assert "not mounted?" in said
    assert str(folder) in said
    assert said.count("\n") == 0
    assert folder.exists() == is_there
    assert not (folder / MARKER).exists()


def test_the_word_of_an_operator_takes_such_a_folder_over(database: Database, folder: Path) -> None:
    job_builder.submit(database)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text(f"{ADOPT}\n")

    take_and_close(database, folder)

    assert is_owner(database, folder)


def test_the_word_of_an_operator_hands_a_folder_on(database: Database, other: Database, folder: Path) -> None:
    take_and_close(database, folder)
    (folder / MARKER).write_text(ADOPT)

    take_and_close(other, folder)

    refusal(database, folder)


def test_a_folder_in_use_is_not_handed_on(database: Database, other: Database, folder: Path) -> None:
    with closing(FileOwner(database, folder)) as owner:
        (folder / MARKER).write_text(ADOPT)

        assert "in use just now" in refusal(other, folder)
        with pytest.raises(StorageLost):
            owner.check()


def test_only_the_parent_takes_a_folder_over(database: Database, folder: Path) -> None:
    refusal(database, folder, may_adopt=False)
    assert not folder.exists()

    with closing(FileOwner(database, folder)), closing(FileOwner(database, folder, may_adopt=False)) as child:
        child.check()


def test_a_copy_of_the_database_owns_the_files_once_the_original_is_at_rest(
    tmp_path: Path, folder: Path, database: Database, database_at: OpenAt
) -> None:
    with closing(FileOwner(database, folder)):
        restored = copy_of(database, tmp_path / "restored.db", database_at)
        assert "another copy" in refusal(restored, folder)

    with closing(FileOwner(restored, folder)):
        assert "another copy" in refusal(database, folder)
    take_and_close(database, folder)


def test_a_copy_of_the_files_is_not_used_beside_the_original(database: Database, folder: Path, tmp_path: Path) -> None:
    take_and_close(database, folder)
    shutil.copytree(folder, tmp_path / "copy")

    with closing(FileOwner(database, folder)):
        assert "another folder" in refusal(database, tmp_path / "copy")

    take_and_close(database, tmp_path / "copy")


def test_one_service_receives_and_any_number_work(database: Database, folder: Path) -> None:
    with closing(FileOwner(database, folder, is_serving=True)):
        with pytest.raises(FilesServed):
            FileOwner(database, folder, is_serving=True)
        take_and_close(database, folder)

    with closing(FileOwner(database, folder, is_serving=True)) as owner:
        owner.check()


def test_a_lock_that_was_removed_is_made_again_before_another_takes_it(database: Database, folder: Path) -> None:
    with closing(FileOwner(database, folder, is_serving=True)) as owner:
        (folder / SERVING).unlink()
        owner.check()

        with pytest.raises(FilesServed):
            FileOwner(database, folder, is_serving=True)


def test_a_service_that_another_has_replaced_knows_it(database: Database, folder: Path) -> None:
    with closing(FileOwner(database, folder, is_serving=True)) as owner:
        (folder / SERVING).unlink()
        with closing(FileOwner(database, folder, is_serving=True)), pytest.raises(StorageLost):
            owner.check()
        owner.check()


def removed(folder: Path) -> None:
    (folder / MARKER).unlink()


def moved_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def parent_moved_away(folder: Path) -> None:
    folder.parent.rename(folder.parent.with_name("elsewhere"))


def replaced(folder: Path) -> None:
    moved_away(folder)
    folder.mkdir()


def replaced_by_a_copy(folder: Path) -> None:
    moved_away(folder)
    shutil.copytree(folder.with_name("elsewhere"), folder)


def made_another(folder: Path) -> None:
    (folder / MARKER).write_text("12345\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (removed, "the mark 'owner' in the folder of the files has been removed"),
        (moved_away, "the folder of the files has been removed or renamed"),
        (parent_moved_away, "the folder of the files has been removed or renamed"),
        (replaced, "the folder of the files has been replaced"),
        (replaced_by_a_copy, "the folder of the files has been replaced"),
        (made_another, "the mark 'owner' in the folder of the files has been replaced"),
    ],
)
def test_what_becomes_of_a_folder_in_use_is_noticed_and_told_without_its_path(
    database: Database, folder: Path, change: Callable[[Path], None], told: str
) -> None:
    with closing(FileOwner(database, folder)) as owner:
        change(folder)

        with pytest.raises(StorageLost, match=told) as lost:
            owner.check()

    assert str(folder) not in str(lost.value)
    assert lost.value.path.startswith(str(folder))


def test_a_folder_that_is_put_back_is_the_same(database: Database, folder: Path) -> None:
    with closing(FileOwner(database, folder, is_serving=True)) as owner:
        moved_away(folder)
        with pytest.raises(StorageLost):
            owner.check()
        folder.with_name("elsewhere").rename(folder)

        owner.check()
