"""Names like a setting's that are none: most often a setting that was misspelt, and would be passed over."""

from __future__ import annotations

import difflib
import os

from dotenv import dotenv_values

from service.settings import PREFIX, Settings


def unknown_names(environment: dict[str, str] | None = None) -> list[tuple[str, str | None]]:
    """Return the ``VACPACK_…`` names that mean nothing, each with the nearest that does.

    A warning only: an orchestrator may inject such names (``VACPACK_SERVICE_HOST``) by itself.
    """
    given = dict(os.environ if environment is None else environment)
    if environment is None:
        given |= {name: value or "" for name, value in dotenv_values(".env").items()}
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    unknown = sorted({name for name in given if name.upper().startswith(PREFIX)} - set(known))
    strange = [name for name in unknown if name.upper() not in known]
    return [(name, next(iter(difflib.get_close_matches(name.upper(), known, 1)), None)) for name in strange]
