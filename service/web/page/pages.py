"""Pages for browsers: Jinja2 templates, every value escaped, no inline script or style, nothing from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, PathLike, StaticFiles
from starlette.types import Scope

from service.failures import FAILURES
from service.language import LANGUAGES, Words, words
from service.web.http.preconditions import is_not_modified
from service.web.http.ranges import requested_range
from service.web.page import language
from service.web.parts import parts_of

STATIC = Path(__file__).parents[1] / "static"
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    # Not no-referrer: that makes a page's own form send "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_environment = Environment(
    loader=PackageLoader("service.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Words as themselves: escaped, each Chinese character takes twice the room.
_environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}

_SCRIPT_WORDS = ("unit.", "list.", "files.", "state.", "waiting.", "act.", "script.", "failure.")
SCRIPT_ERRORS = (
    *("upload_too_large", "too_many_files", "storage_full", "storage_failed", "internal_error", "bad_option"),
    *("one_file_only", "option_not_offered", "idempotency_mismatch", "job_not_found", "job_expired", "key_needed"),
    *(
        "not_cancellable",
        "not_retryable",
        "source_missing",
        "malicious",
        "result_damaged",
        "database_busy",
        "shutting_down",
    ),
)
"""What the pages' own requests can be refused for: uploads, cancel, retry, delete. All errors were 2 kB more a page."""


class Assets(StaticFiles):
    """Our own files. Always asked for again, answered by 304: a page never meets the script of another release."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the file, a part of it, or 304, as all our answers tell them apart."""
        request, headers = Request(scope), {"Cache-Control": "no-cache"}
        response = FileResponse(full_path, status_code, headers, stat_result=stat_result)
        etag = response.headers["ETag"]
        if is_not_modified(request, etag, modified_at=int(stat_result.st_mtime)):
            return NotModifiedResponse(response.headers)
        if requested_range(request, stat_result.st_size, etag) is None:
            # The response would read it in a way of its own.
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"range"]
        return response


def script_words(say: Words) -> dict[str, str]:
    """Return the part of the catalogue that the script says."""
    codes = (*SCRIPT_ERRORS, *FAILURES, "other")
    wanted = {f"{kind}.{code}" for kind in ("error", "advice") for code in codes}
    return {key: text for key, text in say.catalogue.items() if key.startswith(_SCRIPT_WORDS) or key in wanted}


def render(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a page in the language of its reader."""
    at = parts_of(request).settings.path_prefix()
    say = words(language.language_of(request))
    shown = {
        "at": at,
        "say": say,
        "script_words": script_words(say),
        "languages": LANGUAGES,
        # Where the switch leads: here, unless this answers a form, which cannot be asked for again.
        "switch": "" if request.method in ("GET", "HEAD") else f"{at}/",
    }
    content = _environment.get_template(template).render(shown | dict(values))
    all_headers = {**PAGE_HEADERS, **(headers or {})}
    all_headers["Vary"] = ", ".join(filter(None, (all_headers.get("Vary"), language.VARY)))
    page = Response(content, status, all_headers, "text/html; charset=utf-8")
    language.keep_choice(request, page, path=f"{at}/")
    return page
