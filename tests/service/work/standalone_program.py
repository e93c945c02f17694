"""``vacpack work`` as a process for tests. Arguments: the settings as JSON, the child's program."""

from __future__ import annotations

import sys

from service.work.standalone import run_standalone
from service.work.work_settings import WorkSettings

if __name__ == "__main__":
    run_standalone(WorkSettings.from_json(sys.argv[1]), command=(sys.executable, "-P", sys.argv[2]))
