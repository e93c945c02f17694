"""What the documents say is so: made parts are up to date, links lead somewhere, names exist, and the backup works."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from service.cli import app
from service.settings import PREFIX, Settings
from service.start import kept_secrets
from service.start.holdings import own_files, prepare
from service.web.metrics import HttpMetrics
from service.web.receiving.options import NAMES
from service.wiring import stores, tasks
from storage.database import Database
from storage.files.local_files import LocalFiles
from storage.ids import Key, new_source_key, random_id
from storage.jobs.job_table import NewJob, NewSource, insert_job
from storage.jobs.job_views import job_sources
from tests.write_docs import PARTS, ROOT, documents, rewritten, room_folders, told_of

DOCUMENTS = documents()
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def in_project(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=in_project)
def test_made_parts_are_what_the_code_makes_them(path: Path) -> None:
    assert path.read_text() == rewritten(path.read_text()), "run: make docs"


def test_every_made_part_stands_in_some_document() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)

    assert {name for name in PARTS if f"<!-- begin {name}:" in text} == set(PARTS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=in_project)
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link]

    assert [link for link in links if not leads_somewhere(path, link)] == []


def leads_somewhere(path: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = path.parent / name if name else path
    if not target.exists():
        return False
    headings = HEADING.findall(target.read_text()) if anchor else []
    return not anchor or anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("path", DOCUMENTS, ids=in_project)
def test_settings_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z][A-Z_]*[A-Z]", path.read_text()))

    assert named <= {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("path", DOCUMENTS, ids=in_project)
def test_modules_that_are_named_exist(path: Path) -> None:
    text = re.sub(r"<!-- begin rooms.*<!-- end rooms -->", "", path.read_text(), flags=re.DOTALL)
    named = re.findall(r"`((?:service|storage|web|work)(?:/\w+)+)(?:\.py)?`", text)
    paths = [ROOT / re.sub(r"^(web|work)/", r"service/\1/", f"{name}.py") for name in named]

    assert [in_project(path) for path in paths if not path.exists()] == []


@pytest.mark.parametrize("folder", room_folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_says_what_lives_in_it_and_what_it_imports(folder: Path) -> None:
    lives, imports = told_of(folder)

    assert lives.endswith(".")
    assert imports.startswith("Imports ")


def test_the_table_of_options_names_every_option_of_an_upload() -> None:
    section = (ROOT / "docs" / "api.md").read_text().split("\n## Options\n")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(NAMES) - {"idempotency_key", "key"}


def test_the_index_leads_to_every_document() -> None:
    index = ROOT / "docs" / "README.md"
    led_to = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}

    assert [in_project(path) for path in DOCUMENTS if path.parent.name != "adr" and path not in led_to | {index}] == []


def test_operations_name_every_command() -> None:
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}

    assert {name for name in commands if f"`vacpack {name}" in OPERATIONS} | {"settings"} == commands
    assert set(re.findall(r"vacpack ([a-z]+)", "\n".join(re.findall(r"`vacpack [^`]*`", OPERATIONS)))) <= commands


def test_operations_name_every_metric(settings: Settings) -> None:
    prepare(settings)
    database = stores.open_database(settings)
    text = HttpMetrics(database, stores.open_store(settings)).render().decode()
    database.close()

    families = set(re.findall(r"^# TYPE (vacpack_\w+) (?:counter|gauge|histogram)$", text, re.MULTILINE))
    served = {name for name in families if not name.endswith("_created")}
    assert set(re.findall(r"`(vacpack_\w+)`", OPERATIONS)) == served


def test_changelog_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data")


def stored_job(database: Database, store: LocalFiles, data: bytes) -> str:
    key = new_source_key()
    part = store.create(key)
    part.write([data])
    part.commit()
    source = NewSource(key, "a.txt", len(data), None, None)
    job_id = random_id()
    with database.transaction() as connection:
        insert_job(connection, NewJob(job_id, "0" * 64, "a.txt", "auto", "fast", 60_000, 3, (source,)))
    return job_id


def run_block(heading: str, number: int, **environment: str) -> str:
    """Return what is printed by the ``number``-th shell block below a heading of the operations page."""
    section = OPERATIONS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    block = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[number]
    command = ["bash", "-euc", block]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, timeout=30, check=True)
    return done.stdout.decode()


def test_a_backup_of_a_running_service_is_restored_whole(settings: Settings, tmp_path: Path) -> None:
    backup, restored = str(tmp_path / "backup"), Settings(_env_file=None, data_dir=tmp_path / "restored")
    prepare(settings)
    kept_secrets.admin_token(settings)
    (settings.data_dir / "manage-secret").write_text("00\n")
    database = stores.open_database(settings)
    with closing(own_files(settings, database)) as owner:
        job_id = stored_job(database, stores.open_store(settings, owner), b"the bytes")

    # The database is still open, and its last commits stand in the write-ahead log only.
    told = run_block("Backup and restore", 0, DATA=str(settings.data_dir), BACKUP=backup)
    database.close()
    run_block("Backup and restore", 1, DATA=str(restored.data_dir), BACKUP=backup)
    tasks.sweep(restored.model_copy(update={"orphan_grace_seconds": 0.001}))

    reopened = stores.open_database(restored)
    with reopened.read() as connection:
        (source,) = job_sources(connection, job_id)
    reopened.close()
    with stores.open_store(restored).open(Key(source["key"])) as file:
        assert file.read() == b"the bytes"
    assert told == "missing:\n"


def test_a_backup_tells_what_it_lacks(settings: Settings, tmp_path: Path) -> None:
    prepare(settings)
    kept_secrets.admin_token(settings)
    (settings.data_dir / "manage-secret").write_text("00\n")
    database, store = stores.open_database(settings), stores.open_store(settings)
    stored_job(database, store, b"the bytes")
    (lost,) = [file.key for file in store.files()]
    store.delete([lost])

    told = run_block("Backup and restore", 0, DATA=str(settings.data_dir), BACKUP=str(tmp_path / "backup"))
    database.close()

    assert told == f"missing: {lost}\n"
