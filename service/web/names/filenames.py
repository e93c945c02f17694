"""The doors a file name comes in by and goes out by. What comes in is text, not yet clean: ``file_names`` cleans it."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from quopri import decodestring
from urllib.parse import quote

from service.web.names.charsets import MAX_RAW_BYTES, NO_HINTS, Hints, decoded, decoded_as, ending, escaped
from service.web.receiving.disposition import MAX_HEADER_BYTES, raw_filename

MAX_SEMICOLONS = 100
"""In a ``Content-Disposition``: a parser's time grows with their square, 10 s for 64 KiB of nothing else."""

MAX_ESCAPED_BYTES = 3 * MAX_RAW_BYTES
"""Of a percent-encoded name, from its end."""

_WORD = re.compile(r"=\?([\w.:-]{1,40})(?:\*[\w-]{0,20})?\?([bBqQ])\?([^?\s]*)\?=")
_WORDS = re.compile(r"=\?[\w.:*-]{1,60}\?[bBqQ]\?[^?\s]*\?=(?:[ \t]*=\?[\w.:*-]{1,60}\?[bBqQ]\?[^?\s]*\?=)*")
_FORM_ESCAPES = {b"%22": b'"', b"%0D": b"\r", b"%0A": b"\n"}
_ESCAPES = re.compile(rb"%[0-9A-Fa-f]{2}")
_RUN_OF_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


def name_of_disposition(header: str | bytes | None, hints: Hints = NO_HINTS, *, is_form: bool = False) -> str | None:
    """Return the file name in a ``Content-Disposition``, ``filename*`` before ``filename`` (RFC 6266, 4.3).

    None where there is none, or where more semicolons than ``MAX_SEMICOLONS`` stand in it. ``is_form``: of a form's
    part, whose escapes (RFC 7578, 4.2) are undone. That forbids ``filename*``; .NET and older libraries send it.
    """
    raw_header = header.encode("latin-1", "replace") if isinstance(header, str) else header
    if not raw_header or raw_header.count(b";") > MAX_SEMICOLONS or len(raw_header) > MAX_HEADER_BYTES:
        return None
    raw = raw_filename(raw_header)
    extended = None if raw.extended is None else _extended(raw.extended, hints)
    if extended is not None or (raw.plain is None and raw.extended is None):
        return extended
    if raw.plain is None:
        return escaped(_unquoted((raw.extended or b"").rpartition(b"'")[2]))
    return _plain(raw.plain, hints, is_form=is_form)


def name_of_path(raw_path: bytes, hints: Hints = NO_HINTS) -> str:
    """Return the last segment of a request's path, percent-decoded once, as the client meant it."""
    return decoded(_unquoted(raw_path.rsplit(b"/", 1)[-1]), hints)


def name_of_query(query: bytes, hints: Hints = NO_HINTS) -> str | None:
    """Return ``filename`` of a query, None where there is none or an empty one."""
    items = (item.partition(b"=") for item in query.split(b"&"))
    found = next((value for name, _, value in items if value and _unquoted(name[:40]) == b"filename"), None)
    return None if found is None else decoded(_unquoted(found.replace(b"+", b" ")), hints)


def _unquoted(raw: bytes) -> bytes:
    """Return what percent-encoded bytes stand for, runs of escapes at a time: the standard library takes each alone."""
    return _RUN_OF_ESCAPES.sub(_bytes_of, _end_of_escaped(raw))


def _end_of_escaped(raw: bytes) -> bytes:
    """Return as much as is read, not beginning within an escape."""
    begin = len(raw) - MAX_ESCAPED_BYTES
    if begin <= 0:
        return raw
    cut = raw.find(b"%", max(0, begin - 2), begin)
    return raw[cut + 3 if cut >= 0 else begin :]


def _bytes_of(run: re.Match[bytes]) -> bytes:
    return bytes.fromhex(run[0].replace(b"%", b"").decode())


def attachment(name: str) -> bytes:
    """Return a ``Content-Disposition`` that browsers and ``curl -OJ`` both save under ``name``.

    curl ignores ``filename*`` and takes the raw UTF-8 of ``filename``; browsers prefer ``filename*`` (RFC 8187).
    """
    return b"attachment; filename=\"%s\"; filename*=UTF-8''%s" % (name.encode(), quote(name, safe="").encode())


def _extended(value: bytes, hints: Hints) -> str | None:
    """Return what ``charset'language'value`` says (RFC 8187, 3.2), None where its charset says nothing."""
    parts = value.split(b"'", 2)
    if len(parts) < 3:
        return decoded(_unquoted(value), hints)
    raw = _unquoted(parts[2])
    return decoded_as(raw, parts[0].decode("latin-1")) if parts[0] else decoded(raw, hints)


def _plain(raw: bytes, hints: Hints, *, is_form: bool) -> str:
    raw = ending(raw)
    if raw.isascii():
        text = raw.decode()
        if "=?" in text and (said := _of_words(text)) is not None:
            return said
        if (said := _of_percents(raw)) is not None:
            return said
    if is_form:
        raw = re.sub(rb"%22|%0D|%0A", lambda found: _FORM_ESCAPES[found[0]], raw)
    return decoded(raw, hints)


def _of_percents(raw: bytes) -> str | None:
    """Return the text of a name that its client percent-encoded though nothing says so: only UTF-8 beyond ASCII.

    ``100%25.txt`` is a name as it stands, and so is what ``escaped`` made of another one.
    """
    if not _ESCAPES.search(raw):
        return None
    inner = _unquoted(raw)
    try:
        return None if inner.isascii() else inner.decode()
    except UnicodeDecodeError:
        return None


def _of_words(text: str) -> str | None:
    """Return a name with its encoded words (RFC 2047) decoded, as mail programs send them; None if one cannot be."""
    said: list[str] = []
    at = 0
    for words in _WORDS.finditer(text):
        run = _of_run(words[0])
        if run is None:
            return None
        said += text[at : words.start()], run
        at = words.end()
    return "".join(said) + text[at:] if said else None


def _of_run(words: str) -> str | None:
    """Return the text of words that follow each other. Bytes of one charset are put together: a letter may be split."""
    runs: list[tuple[str, bytes]] = []
    for label, coding, coded in _WORD.findall(words):
        raw = _of_word(coding, coded)
        if raw is None:
            return None
        if runs and runs[-1][0] == label.lower():
            raw = runs.pop()[1] + raw
        runs.append((label.lower(), raw))
    texts = [decoded_as(raw, label) for label, raw in runs]
    return None if None in texts else "".join(filter(None, texts))


def _of_word(coding: str, coded: str) -> bytes | None:
    if coding in "qQ":
        return decodestring(coded.encode(), header=True)
    try:
        return b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except binascii.Error:
        return None
