"""``vacpack work`` as a process for tests. Arguments: the settings as JSON, the child's program."""

from __future__ import annotations

import sys

from service.work.standalone import run_standalone
from service.work.work_settings import WorkSettings
from storage.database import Database

if __name__ == "__main__":
    settings = WorkSettings.from_json(sys.argv[1])
    run_standalone(settings, Database(settings.database_url), command=(sys.executable, "-P", sys.argv[2]))
