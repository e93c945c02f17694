"""The front door: the upload page for browsers, a manual for everything else; static files and the API's docs page."""

from __future__ import annotations

from importlib.resources import files
from secrets import token_urlsafe

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.job_document import readable_duration, readable_size
from service.language import words
from service.settings import Settings, missing_for_email
from service.web import documented
from service.web.answers import TEXT, base_url
from service.web.http.negotiation import Kind, kind_of
from service.web.page import phrases
from service.web.page.language import language_of
from service.web.page.pages import STATIC, render
from service.web.parts import parts_of
from service.web.receiving.options import FORMATS, LEVELS
from service.web.routing import get_and_head

router = APIRouter(tags=["pages"])

MANUAL = """\
vacpack takes a file in, answers 202 with a job id at once, compresses it, and hands it back.

Upload
  curl -T big.log {url}/
  curl -F file=@big.log {url}/uploads
  curl -F file=@a.txt -F file=@b.txt -F format=tar.zst {url}/uploads
  tar c folder | curl -T - {url}/uploads/folder.tar
  url=$(curl -H 'Accept: text/plain' -T big.log {url}/)

Is it done yet?
  curl -H 'Accept: text/plain' $url
  curl "$url?wait=25"

Download
  curl -OJ $url/result
  curl -OJ "$url/result?format=gzip"
  curl --compressed -OJ $url/original

Cancel, retry, delete: with the key from the upload's answer, in its Vacpack-Manage-Key header (curl -i)
  curl -X POST -H "Authorization: Bearer $manage_key" $url/cancel
  curl -X POST -H "Authorization: Bearer $manage_key" $url/retry
  curl -X DELETE -H "Authorization: Bearer $manage_key" $url

Options, as form fields (-F level=small) or query parameters (?level=small)
  format   {formats}
  level    {levels}
  expires  30m, 12h, 7d …; at most {max_ttl}
{more_options}
At most {max_size} in one request. All limits: {url}/limits  The API: {url}/docs
"""
EMAIL_OPTION = """\
  notify_email  addresses that get an e-mail when it is done: ann@mail.example,bob@mail.example
"""

WEBHOOK_OPTION = """\
  callback_url  a URL that is sent a signed webhook when it is done
"""


@get_and_head(router, "/", **documented.FRONT)
async def front(request: Request) -> Response:
    """Return the upload page to a browser, the manual to anything else."""
    parts = parts_of(request)
    settings = parts.settings
    if kind_of(request, default=Kind.TEXT) is Kind.HTML:
        say = words(language_of(request))
        values = {
            "formats": FORMATS,
            "levels": LEVELS,
            "max_upload_bytes": settings.max_upload_bytes,
            "max_files": settings.max_files_per_upload,
            "max_size": phrases.size(settings.max_upload_bytes, say),
            "ttl": phrases.duration(settings.result_ttl_seconds, say),
            "url": base_url(request, parts),
            "idempotency_key": token_urlsafe(16),
            "sends_email": not missing_for_email(settings),
        }
        return render(request, "front.html", values, headers={"Cache-Control": "no-store", "Vary": "Accept"})
    text = MANUAL.format(
        url=base_url(request, parts),
        formats=", ".join(FORMATS),
        levels=", ".join(LEVELS),
        max_ttl=readable_duration(settings.max_ttl_seconds),
        max_size=readable_size(settings.max_upload_bytes),
        more_options=_more_options(settings),
    )
    return Response(text, 200, {"Vary": "Accept"}, TEXT)


def _more_options(settings: Settings) -> str:
    email = "" if missing_for_email(settings) else EMAIL_OPTION
    return email + (WEBHOOK_OPTION if settings.webhook_secrets.get_secret_value() else "")


DOCS_HEADERS = {
    # Swagger UI sets styles by its script, which needs no leave; nothing but its own files runs.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
DOCS_FOLDER = str(files("fastapi_swagger") / "resources")


ICON = (STATIC / "icon.svg").read_bytes()
ROBOTS = "User-agent: *\nDisallow: /\n"
"""Whoever holds a job's address may download it: no list of addresses should."""


@get_and_head(router, "/favicon.ico", include_in_schema=False)
async def favicon(request: Request) -> Response:
    """Return the icon to whoever asks for it where it used to be."""
    return Response(ICON, 200, {"Cache-Control": "max-age=86400"}, "image/svg+xml")


@get_and_head(router, "/robots.txt", include_in_schema=False)
async def robots(request: Request) -> Response:
    """Return that nothing here is for crawlers."""
    return Response(ROBOTS, 200, media_type=TEXT)


@get_and_head(router, "/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the API's page: Swagger UI, its files served from here."""
    return render(request, "docs.html", {}, headers=DOCS_HEADERS)
