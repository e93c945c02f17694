"""The file ``.env``, looked at before its values are: a line that nobody can read must not be passed over."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

ENV_FILE = ".env"


class BadEnvFile(Exception):
    """The file cannot be read; the text says where and why."""


def check_env_file(path: Path | None = None) -> None:
    """Find out whether the file can be read as a whole; no file is fine.

    Raises:
        BadEnvFile: it cannot.
    """
    path = path or Path(ENV_FILE)
    try:
        if not path.is_file():
            return
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadEnvFile(f"{path}: it is not UTF-8; save it as that") from error
    except OSError as error:
        raise BadEnvFile(f"{path}: it cannot be read: {error.strerror}") from error
    if text.startswith("\ufeff"):
        raise BadEnvFile(f"{path}: it begins with a byte order mark, which would be part of the first name")
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            raise BadEnvFile(f"{path}, line {binding.original.line}: it is not NAME=VALUE")
