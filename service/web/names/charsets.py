"""What the bytes of a client's file name say: UTF-8 if they can be, else a legacy encoding, else they stay visible.

Order: the charset that the client itself names; UTF-8; what ``recognition`` is sure of; and then every byte that is
no ASCII as ``%B2``, so that nothing is lost and nothing pretends to be a letter (ADR 0009).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

from service.web.http.negotiation import weights
from service.web.names.recognition import recognised

_LABELS: Mapping[str, str] = {
    label: codec
    for codec, labels in {
        "utf-8": "utf-8 utf8 us-ascii ascii",
        "cp1252": "iso-8859-1 latin1 latin-1 iso_8859-1 l1 windows-1252 cp1252",
        "iso8859_15": "iso-8859-15 latin-9",
        "iso8859_2": "iso-8859-2 latin2",
        "iso8859_5": "iso-8859-5",
        "iso8859_7": "iso-8859-7",
        "iso8859_8": "iso-8859-8",
        "cp1250": "windows-1250 cp1250",
        "cp1251": "windows-1251 cp1251",
        "cp1253": "windows-1253 cp1253",
        "cp1254": "windows-1254 cp1254 iso-8859-9",
        "cp1255": "windows-1255 cp1255",
        "cp1256": "windows-1256 cp1256",
        "cp1257": "windows-1257 cp1257",
        "cp1258": "windows-1258 cp1258",
        "cp874": "windows-874 cp874 tis-620 iso-8859-11",
        "koi8_r": "koi8-r",
        "koi8_u": "koi8-u",
        "gb18030": "gb18030 gbk gb2312 gb_2312-80 cp936 windows-936",
        "cp950": "big5 big5-hkscs cp950",
        "cp932": "shift_jis shift-jis sjis cp932 windows-31j ms_kanji",
        "euc_jp": "euc-jp",
        "iso2022_jp": "iso-2022-jp",
        "cp949": "euc-kr ks_c_5601-1987 cp949 uhc windows-949",
    }.items()
    for label in labels.split()
}
"""The only charsets a client can name, by their labels (WHATWG Encoding, 4.2): a label never reaches Python's search
for codecs, whose ``punycode`` takes 310 ms for a long name."""

_LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "zh": ("gb18030",),
    "zh-tw": ("cp950",),
    "zh-hk": ("cp950",),
    "zh-hant": ("cp950",),
    "ja": ("cp932", "euc_jp"),
    "ko": ("cp949",),
    **dict.fromkeys(("ru", "be", "bg", "mk", "sr", "kk"), ("cp1251", "koi8_r")),
    "uk": ("cp1251", "koi8_u"),
    "el": ("cp1253",),
    "he": ("cp1255",),
    **dict.fromkeys(("ar", "fa", "ur"), ("cp1256",)),
    "th": ("cp874",),
    **dict.fromkeys(("cs", "hr", "hu", "pl", "ro", "sk", "sl"), ("cp1250", "iso8859_2")),
    "tr": ("cp1254",),
    **dict.fromkeys(("et", "lt", "lv"), ("cp1257",)),
    **dict.fromkeys(("ca", "da", "de", "es", "fi", "fr", "is", "it", "nb", "nl", "no", "pt", "sv"), ("cp1252",)),
}
"""What was written where these are read. English speaks for none: it is what most clients send unasked."""

_TO_ESCAPE = re.compile(rb'[\x80-\xff]+\\?|[\x00-\x1f\x7f%<>"|?*]')
_BROKEN = re.compile("[\udc80-\udcff]+")
_THREE_BYTES = re.compile("[\u0800-\ud7ff\ue000-\U0010ffff]")
_WITHIN_LETTERS = bytes(range(0x80, 0xC0))
_MAX_BROKEN_BYTES = 3
_MAX_LANGUAGES = 4
MAX_RAW_BYTES = 4 * 1024
"""Of a name, from its end: a whole path on Linux. Every reader's time is bounded by it."""
_MAX_LEGACY_BYTES = 1024
"""The same where nobody says what charset it is in: seventeen are tried."""


Hints = tuple[str, ...]
"""What a request says of the encoding its names may be in: codecs by Python's names, the likeliest first."""

NO_HINTS: Hints = ()


def hints_of(charset: str, accept_language: str = "") -> Hints:
    """Return what the charset of a form speaks for, or the first that does in ``Accept-Language``.

    Latin-1 speaks for nothing: servers and libraries name it unasked.
    """
    codec = codec_of(charset)
    if codec is not None and codec not in ("utf-8", "cp1252"):
        return (codec,)
    for tag in islice(weights(accept_language), _MAX_LANGUAGES):
        main, _, rest = tag.partition("-")
        if found := _LANGUAGES.get(f"{main}-{rest.partition('-')[0]}", _LANGUAGES.get(main)):
            return found
    return NO_HINTS


def codec_of(label: str) -> str | None:
    """Return Python's name of the charset with this label, None for one that no name is expected in."""
    return _LABELS.get(label.strip().lower())


def decoded(raw: bytes, hints: Hints = NO_HINTS) -> str:
    """Return the text of bytes whose charset nobody named."""
    raw = ending(raw)
    if (text := _utf8(raw)) is not None:
        return text
    text = _utf16(raw) or _broken_utf8(raw[-_MAX_LEGACY_BYTES:]) or recognised(raw[-_MAX_LEGACY_BYTES:], hints)
    return escaped(raw) if text is None else text


def ending(raw: bytes) -> bytes:
    """Return as much of a name as is read: its end, not beginning within a letter of UTF-8."""
    return raw if len(raw) <= MAX_RAW_BYTES else raw[-MAX_RAW_BYTES:].lstrip(_WITHIN_LETTERS)


def decoded_as(raw: bytes, label: str) -> str | None:
    """Return the text of bytes whose charset is named; None where that is unknown, or is not what they are in.

    What is UTF-8 and said to be a western charset is UTF-8 all the same: "Ã©" is in nobody's file names.
    """
    codec, raw = codec_of(label), ending(raw)
    if codec is None:
        return None
    if codec == "cp1252" and (text := _utf8(raw)) is not None:
        return text
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def escaped(raw: bytes) -> str:
    """Return bytes as text that shows each: ``unquote_to_bytes`` gives them back, of many the last.

    Separators stay what they are, but for a backslash that may be the second half of a letter.
    """
    return _TO_ESCAPE.sub(lambda found: _percent(found[0]), raw[-_MAX_LEGACY_BYTES:]).decode("ascii")


def _percent(raw: bytes) -> bytes:
    return b"%" + raw.hex("%").upper().encode()


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _utf16(raw: bytes) -> str | None:
    """Return the text of UTF-16 that says so: by its mark, or by the NULs of its ASCII, all on the same side."""
    has_nul = 0 in raw[::2], 0 in raw[1::2]
    sides = {(False, True): "utf-16-le", (True, False): "utf-16-be"}
    codec = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else sides.get(has_nul)
    if codec is None:
        return None
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _broken_utf8(raw: bytes) -> str | None:
    """Return the text of UTF-8 that was cut within one letter, its broken bytes escaped.

    Two letters of three bytes each must be whole: of 6,000 legacy names none was so by accident.
    """
    text = raw.decode(errors="surrogateescape")
    broken = _BROKEN.findall(text)
    if len(broken) != 1 or len(broken[0]) > _MAX_BROKEN_BYTES or len(_THREE_BYTES.findall(text)) < 2:
        return None
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    is_escaped = character.isascii() or _BROKEN.match(character)
    return escaped(character.encode(errors="surrogateescape")) if is_escaped else character
