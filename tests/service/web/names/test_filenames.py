"""The doors a file name comes in by: its letters come through, or its bytes can be seen."""

from __future__ import annotations

import re
from email.message import Message
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.values.file_names import clean_name
from service.web.names.filenames import attachment, name_of_disposition, name_of_path, name_of_query

ANY_NAME = st.text(max_size=400)


@given(st.text())
def test_a_parts_name_comes_back_from_what_browsers_escape(name: str) -> None:
    kept = re.sub(r"[\ud800-\udfff]", "", name)
    escaped = kept.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")

    header = 'form-data; filename="' + escaped.replace("\\", "\\\\") + '"'
    assert name_of_disposition(header.encode(), is_form=True) == kept.replace("%22", '"').replace("%0D", "\r").replace(
        "%0A", "\n"
    )


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename=plain.txt", "plain.txt"),
        ('attachment; filename="with space; and.txt"', "with space; and.txt"),
        ('attachment; filename="a\\"b.txt"', 'a"b.txt'),
        ("attachment; filename*=UTF-8''%E4%B8%AD.txt", "中.txt"),
        ("attachment; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
        ("attachment; filename=\"a.txt\"; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
        ("attachment; filename*=UTF-8''caf%C3%A9.txt; filename=\"a.txt\"", "café.txt"),
        ("attachment; filename*=iso-8859-1''caf%E9.txt", "café.txt"),
        ('attachment; filename="caf\u00c3\u00a9.txt"', "café.txt"),
        ("attachment", None),
        ("", None),
        (None, None),
    ],
)
def test_the_name_in_a_content_disposition_is_read(header: str | None, name: str | None) -> None:
    assert name_of_disposition(header) == name


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_no_content_disposition_is_an_error(text: str) -> None:
    name = name_of_disposition(f"attachment; filename{text}")

    assert name is None or isinstance(name, str)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/uploads/a%20b.txt", "a b.txt"),
        (b"/a%2Fb", "a/b"),
        (b"/%25", "%"),
        (b"/%E4%B8%AD", "中"),
        (b"/\xe4\xb8\xad", "中"),
        (b"/uploads/", ""),
    ],
)
def test_the_name_in_a_path_is_decoded_once(path: bytes, name: str) -> None:
    assert name_of_path(path) == name


@given(ANY_NAME.map(clean_name))
def test_an_attachment_gives_its_name_to_browsers_and_to_curl(name: str) -> None:
    header = attachment(name)

    found = re.fullmatch(rb"attachment; filename=\"([^\"\\\r\n]*)\"; filename\*=UTF-8''([!-~]*)", header)
    assert found
    raw, extended = found.groups()
    assert raw.decode() == name
    assert unquote(extended.decode()) == name
    message = Message()
    message["content-disposition"] = f"attachment; filename*=UTF-8''{extended.decode()}"
    assert message.get_filename() == name


@pytest.mark.parametrize("letters", [1300, 1366, 1367, 1800])
@pytest.mark.parametrize("beginning", ["", "a", "ab"])
def test_a_long_escaped_name_is_cut_between_letters(letters: int, beginning: str) -> None:
    raw = quote(beginning + "报" * letters + ".log").encode()

    assert set(name_of_path(b"/" + raw)) <= set(f"{beginning}报.log")
    assert set(name_of_query(b"filename=" + raw) or "") <= set(f"{beginning}报.log")
