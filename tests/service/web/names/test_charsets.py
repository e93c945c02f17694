"""Names in any encoding: their letters where it is clear what they are, else every byte, and never a wrong guess."""

from __future__ import annotations

from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.values.file_names import FALLBACK, MAX_NAME_BYTES, clean_name
from service.web.names.charsets import codec_of, decoded, decoded_as, escaped, hints_of
from service.web.names.filenames import name_of_disposition, name_of_path, name_of_query
from service.web.names.recognition import recognised
from tests.service.web.names.real_names import HINTED, LEGACY, UNCLEAR, UTF8


def quoted(raw: bytes) -> bytes:
    return raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


DOORS = {
    "form": lambda raw: name_of_disposition(b'form-data; name="f"; filename="%s"' % quoted(raw), is_form=True),
    "form, nothing escaped": lambda raw: name_of_disposition(b'form-data; name="f"; filename="%s"' % raw, is_form=True),
    "header": lambda raw: name_of_disposition((b'attachment; filename="%s"' % quoted(raw)).decode("latin-1")),
    "header, no charset named": lambda raw: name_of_disposition(f"attachment; filename*=''{quote_from_bytes(raw)}"),
    "path": lambda raw: name_of_path(b"/uploads/" + quote_from_bytes(raw).encode()),
    "path, nothing escaped": lambda raw: name_of_path(b"/uploads/" + raw.replace(b"%", b"%25")),
    "query": lambda raw: name_of_query(b"format=zstd&filename=" + quote_from_bytes(raw).encode()),
}


@pytest.mark.parametrize("door", DOORS)
def test_names_in_legacy_encodings_keep_their_letters_through_every_door(door: str) -> None:
    assert [DOORS[door](name.encode(codec)) for name, codec in LEGACY] == [name for name, _ in LEGACY]


@pytest.mark.parametrize("door", DOORS)
def test_names_in_utf8_stay_what_they_are_through_every_door(door: str) -> None:
    assert [DOORS[door](name.encode()) for name in UTF8] == UTF8


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("raw", UNCLEAR)
def test_what_is_not_clear_shows_every_byte_and_keeps_its_suffix(door: str, raw: bytes) -> None:
    name = clean_name(DOORS[door](raw))

    assert name.isascii()
    assert unquote_to_bytes(name) == raw
    assert clean_name(name_of_disposition(f'attachment; filename="{name}"')) == name


@pytest.mark.parametrize(("name", "codec"), LEGACY)
def test_a_charset_that_the_client_names_decides(name: str, codec: str) -> None:
    label = {"cp932": "Shift_JIS", "cp950": "Big5", "cp949": "EUC-KR", "gb18030": "GBK"}.get(
        codec, codec.replace("_", "-")
    )

    assert name_of_disposition(f"attachment; filename*={label}'en'{quote_from_bytes(name.encode(codec))}") == name


@pytest.mark.parametrize(("name", "codec", "languages"), HINTED)
def test_the_clients_language_decides_what_is_too_short(name: str, codec: str, languages: str) -> None:
    assert decoded(name.encode(codec), hints_of("", languages)) == name


def test_the_charset_of_a_form_decides_what_is_too_short() -> None:
    hints = hints_of("big5", "en")

    assert decoded("測試.txt".encode("big5"), hints) == "測試.txt"


@pytest.mark.parametrize(
    "label", ["utf-7", "punycode", "idna", "hex", "rot13", "zip", "unicode_escape", "x" * 4000, "ü"]
)
def test_a_charset_that_no_name_is_in_is_never_looked_up(label: str) -> None:
    assert codec_of(label) is None
    assert decoded_as(b"+AGEAYg-", label) is None
    header = f"attachment; filename*={label}'x'%B2%E2.txt"
    assert name_of_disposition(f"{header}; filename=plain.txt") == "plain.txt"
    assert name_of_disposition(header) == "%B2%E2.txt"


def test_a_name_under_an_unknown_charset_alone_shows_its_bytes() -> None:
    assert name_of_disposition("attachment; filename*=punycode''%B2%E2.txt") == "%B2%E2.txt"
    assert name_of_disposition("attachment; filename*=utf-8''%B2%E2.txt") == "%B2%E2.txt"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("报告.txt".encode("utf-16"), "报告.txt"),
        ("报告.txt".encode("utf-16-le"), "报告.txt"),
        ("报告.txt".encode("utf-16-be"), "报告.txt"),
        ("report.txt".encode("utf-16-le"), "report.txt"),
        ("\ufeff报告.txt".encode(), "报告.txt"),
        ("报告终稿.txt".encode()[:11] + b".txt", "报告终%E7%A8.txt"),
        (b"\xed\xa0\x80.txt", "%ED%A0%80.txt"),
        (b"\xc0\xae\xc0\xae\xc0\xafetc", "%C0%AE%C0%AE%C0%AFetc"),
        ("é.txt".encode(), "é.txt"),
        ("Ã©.txt".encode(), "Ã©.txt"),
        (b"\xe9t\xe9.txt", "été.txt"),
    ],
)
def test_other_forms_of_unicode_are_read_or_shown(raw: bytes, name: str) -> None:
    assert clean_name(decoded(raw)) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("%E6%8A%A5%E5%91%8A.pdf", "报告.pdf"),
        ("a%20b%20%E6%8A%A5.pdf", "a b 报.pdf"),
        ("100%25 sure.txt", "100%25 sure.txt"),
        ("%B2%E2.txt", "%B2%E2.txt"),
        ("=?UTF-8?B?5oql5ZGKLnBkZg==?=", "报告.pdf"),
        ("=?utf-8?q?caf=C3=A9_1?=.txt", "café 1.txt"),
        ("=?gb2312?B?sai45g==?= =?gb2312?B?LnR4dA==?=", "报告.txt"),
        ("=?utf-8?B?5oql5Q==?= =?utf-8?B?kYoucGRm?=", "报告.pdf"),
        ("=?iso-2022-jp?B?GyRCRnxLXBsoQi50eHQ=?=", "日本.txt"),
        ("=?punycode?B?YWJj?=", "=?punycode?B?YWJj?="),
        ("=?utf-8?B?#?=", "=?utf-8?B?#?="),
        ('a \\"b\\".txt', 'a "b".txt'),
        ("C:\\\\dir\\\\a.txt", "C:\\dir\\a.txt"),
        ("C:\\dir\\a.txt", "C:\\dir\\a.txt"),
    ],
)
@pytest.mark.parametrize("is_form", [False, True])
def test_what_clients_wrap_a_name_in_is_taken_off(value: str, name: str, is_form: bool) -> None:
    assert name_of_disposition(f'form-data; name="x"; filename="{value}"', is_form=is_form) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename*0*=UTF-8''%E6%8A%A5; filename*1*=%E5%91%8A; filename*2=.pdf", "报告.pdf"),
        ("attachment; filename*1=b.txt; filename*0=a", "ab.txt"),
        ("attachment; filename*1=b.txt", None),
        ("attachment; filename=\"a\"b.txt; filename*=UTF-8''%E6%8A%A5", "报"),
        ('attachment; FileName = "a.txt"', "a.txt"),
        ('attachment; filename="never closed.txt', "never closed.txt"),
        ('attachment; x="filename=no; a"; filename=yes', "yes"),
        ("attachment; filename*=\"UTF-8''%E6%8A%A5.txt\"", "报.txt"),
    ],
)
def test_headers_are_read_as_clients_write_them(header: str, name: str | None) -> None:
    assert name_of_disposition(header) == name


def test_a_letter_whose_second_half_is_a_backslash_ends_no_folder_and_no_string() -> None:
    name = "能力表.txt 表".encode("cp932")

    assert name_of_disposition(b'form-data; name="f"; filename="%s"' % name, is_form=True) == "能力表.txt 表"


@given(st.binary(max_size=60))
def test_any_bytes_become_a_name_that_is_safe_and_not_hidden(raw: bytes) -> None:
    for door in DOORS.values():
        name = clean_name(door(raw))

        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert clean_name(name) == name
        assert not name.startswith(".") or b"." in raw


@given(
    st.binary(min_size=1, max_size=40).filter(lambda raw: not raw.isascii() and raw[0] != 0xFE),
    st.sampled_from([b"", b".txt"]),
)
def test_a_name_with_bytes_that_are_no_letters_never_starts_with_a_dot(raw: bytes, suffix: bytes) -> None:
    name = clean_name(decoded(b"\xff" + raw.replace(b"/", b"").replace(b"\\", b"") + suffix))

    assert not name.startswith(".")
    assert name.endswith(suffix.decode()) or b"\0" in raw


@given(st.binary(max_size=80))
def test_escaped_bytes_come_back(raw: bytes) -> None:
    assert unquote_to_bytes(escaped(raw)) == raw


@given(st.text(st.characters(categories=("L",)), min_size=1, max_size=40))
def test_letters_in_utf8_come_through_every_door(name: str) -> None:
    for door in DOORS.values():
        assert door(name.encode()) == name


def test_a_name_is_recognised_the_same_however_often_it_comes() -> None:
    assert {recognised("报告.pdf".encode("gbk")) for _ in range(5)} == {"报告.pdf"}


def test_a_long_name_is_judged_by_its_beginning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []
    monkeypatch.setattr("service.web.names.recognition._cost", lambda text, script: judged.append(len(text)))

    decoded("报告".encode("gbk") * 8_000)

    assert judged
    assert max(judged) <= 128


def test_a_name_of_percent_signs_is_what_it_is() -> None:
    assert name_of_path(quote("/uploads/50%25.txt").encode()) == "50%25.txt"
    assert clean_name(name_of_query(b"filename=%00")) == FALLBACK
