"""What a message says, in both languages and for every end; and that no name of a file becomes more than a name."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.failures import FAILURES
from service.language import LANGUAGES
from service.telling.mail import MAX_NAME_LENGTH, Letterhead, compose, on_one_line
from service.telling.mail_subject import MAX_LINE
from service.values.email_address import read_sender

NOW = datetime(2026, 11, 22, 4, 20, tzinfo=UTC)
LETTERHEAD = Letterhead(read_sender("vacpack <no-reply@up.example>"), "https://up.example/files")
JOB_ID, MESSAGE_ID = "j" * 26, "m" * 26
JOB = f"https://up.example/files/jobs/{JOB_ID}"
SUCCEEDED: dict[str, Any] = {
    "id": JOB_ID,
    "name": "big.log",
    "status": "succeeded",
    "format": "auto",
    "source_size_bytes": 6_888_896,
    "source_files": 1,
    "result_size_bytes": 1_234_567,
    "result_format": "zstd",
    "stored_as_is": 0,
    "error_code": None,
    "error_detail": None,
    "expires_at": round((NOW + timedelta(days=7)).timestamp() * 1000),
}
FAILED = SUCCEEDED | {
    "status": "failed",
    "result_size_bytes": None,
    "result_format": None,
    "error_code": "disk_full",
    "error_detail": "…",
}


def sent(job: dict[str, Any], language: str = "en", **more: Any) -> EmailMessage:
    """Return the message as its receiver reads it."""
    values = {"message_id": MESSAGE_ID, "recipient": "ann@mail.example", "language": language, "now": NOW} | more
    received = message_from_bytes(compose(job, LETTERHEAD, **values).as_bytes(policy=SMTP), policy=default)
    assert isinstance(received, EmailMessage)
    assert not received.defects
    return received


def parts_of(email: EmailMessage) -> tuple[str, str]:
    """Return the plain text and the HTML."""
    plain, page = email.get_body(("plain",)), email.get_body(("html",))
    assert isinstance(plain, EmailMessage)
    assert isinstance(page, EmailMessage)
    return plain.get_content(), page.get_content()


def test_a_success_tells_sizes_and_links_in_text_and_page() -> None:
    email = sent(SUCCEEDED)

    assert email["Subject"] == "big.log is ready: 6.89 MB → 1.23 MB"
    for part in parts_of(email):
        assert "big.log has been compressed." in part
        assert "6.89 MB → 1.23 MB, 82.1 % smaller (zstd)" in part
        assert "2026-11-29 04:20 UTC" in part
        assert all(link in part for link in (f"{JOB}/result", f"{JOB}/original", JOB))


def test_the_head_says_whom_from_and_that_nobody_wrote_it() -> None:
    email = sent(SUCCEEDED)

    assert email["From"] == "vacpack <no-reply@up.example>"
    assert email["To"] == "ann@mail.example"
    assert email["Date"].datetime == NOW
    assert email["Message-ID"] == f"<{MESSAGE_ID}@up.example>"
    assert email["Auto-Submitted"] == "auto-generated"
    assert email["Content-Language"] == "en"
    assert email.get_content_type() == "multipart/alternative"


def test_a_message_that_is_sent_again_has_the_same_id() -> None:
    later = sent(SUCCEEDED, now=NOW + timedelta(hours=2))

    assert later["Message-ID"] == sent(SUCCEEDED)["Message-ID"]
    assert sent(SUCCEEDED, message_id="n" * 26)["Message-ID"] != later["Message-ID"]


def test_everything_on_the_wire_is_ascii_in_short_lines() -> None:
    job = SUCCEEDED | {"name": "年度报告 " * 40}
    values = {"message_id": MESSAGE_ID, "recipient": "ann@mail.example", "language": "zh-CN", "now": NOW}

    wire = compose(job, LETTERHEAD, **values).as_bytes()  # type: ignore[arg-type]

    assert wire.isascii()
    assert max(map(len, wire.split(b"\r\n"))) <= 78
    assert wire.count(b"\n") == wire.count(b"\r\n")


def test_chinese_is_told_in_chinese() -> None:
    email = sent(SUCCEEDED | {"name": "年度报告.pdf"}, "zh-CN")

    assert email["Subject"] == "年度报告.pdf 已压缩完成：6.89 MB → 1.23 MB"
    assert email["Content-Language"] == "zh-CN"
    text, page = parts_of(email)
    assert "大小：6.89 MB → 1.23 MB，缩小 82.1%（zstd）" in text
    assert '<html lang="zh-CN">' in page
    assert "年度报告.pdf 已压缩完成。" in page


def test_what_was_kept_as_it_came_says_so() -> None:
    kept = sent(SUCCEEDED | {"stored_as_is": 1, "result_size_bytes": 6_888_896})

    assert kept["Subject"] == "big.log is ready, kept as is"
    assert "Size: 6.89 MB\n" in parts_of(kept)[0].replace("\r\n", "\n")
    assert f"{JOB}/result" in parts_of(kept)[0]


def test_what_became_larger_says_so() -> None:
    assert (
        "17.2 % larger (xz)"
        in parts_of(sent(SUCCEEDED | {"source_size_bytes": 1000, "result_size_bytes": 1172, "result_format": "xz"}))[0]
    )


def test_an_archive_has_no_original_and_counts_its_files() -> None:
    text, _ = parts_of(sent(SUCCEEDED | {"source_files": 3, "result_format": "zip"}))

    assert "Files: 3" in text
    assert "/original" not in text


def test_a_failure_tells_why_and_where_the_upload_still_is() -> None:
    email = sent(FAILED)

    assert email["Subject"] == "big.log could not be compressed"
    text, page = parts_of(email)
    assert "Reason: There was no room left to store the result. (disk_full)" in text
    assert f"{JOB}/original" in page
    assert f"{JOB}/result" not in text + page


def test_a_cancel_is_told() -> None:
    email = sent(FAILED | {"status": "cancelled", "error_code": None})

    assert email["Subject"] == "big.log: cancelled"
    assert "/result" not in parts_of(email)[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_has_its_words(language: str, code: str) -> None:
    assert code in parts_of(sent(FAILED | {"error_code": code}, language))[0]


def test_all_catalogues_have_the_same_keys_for_mail() -> None:
    catalogues = [json.loads((files("service") / "catalogues" / f"{name}.json").read_text()) for name in LANGUAGES]
    english, *others = ({key for key in one if key.startswith("mail.")} for one in catalogues)

    assert others == [english] * (len(LANGUAGES) - 1)


def test_a_name_is_text_in_the_page() -> None:
    _, page = parts_of(sent(SUCCEEDED | {"name": '<img src=x onerror="alert(1)">&amp;.log'}))

    assert "<img" not in page
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;amp;.log" in page


def test_a_long_name_is_cut_in_the_subject_only() -> None:
    email = sent(SUCCEEDED | {"name": "字" * 240})

    assert email["Subject"].startswith("字" * (MAX_NAME_LENGTH - 1) + "… is ready")
    assert "字" * 240 in parts_of(email)[0]


_HOSTILE = st.text(
    st.sampled_from('a \r\n\x00\x0b\x1c\x85\u2028\u202e=?qQbB_:;<>@"\\,éüß漢字😀'), min_size=1, max_size=100
)


@given(st.one_of(_HOSTILE, st.text(st.characters(codec="utf-8"), min_size=1, max_size=240)))
@example("=?utf-8?q?a=0ABcc=3A_bob=40x.example?=")
@example("a\r\nBcc: bob@x.example\r\n\r\nhello")
@example("a\u2028Bcc: x@y.example")
@example("漢" * 27 + " " + "字" * 30)
@example("0" * 24 + "¡" * 8)
@example('漢é<?? "<,?="aa=漢😀é?_é<é😀?="_😀"😀,a"😀_? 漢漢_😀😀,😀" =😀,= 😀 "< _é😀')
@example("=é" * 40)
def test_no_name_makes_another_header_and_each_is_read_as_it_was_written(name: str) -> None:
    email = sent(FAILED | {"name": name})

    assert email.keys() == [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
        "Content-Language",
    ]
    shown = on_one_line(name)
    short = shown if len(shown) <= MAX_NAME_LENGTH else shown[: MAX_NAME_LENGTH - 1] + "…"
    assert words_of(email["Subject"]) == words_of(f"{short} could not be compressed")


@given(st.text(st.characters(codec="utf-8"), max_size=240))
def test_no_line_of_a_subject_is_too_long_and_none_breaks_a_letter(name: str) -> None:
    raw = compose(
        FAILED | {"name": name}, LETTERHEAD, message_id=MESSAGE_ID, recipient="ann@mail.example", language="en", now=NOW
    ).as_bytes(policy=SMTP)

    subject = raw.partition(b"\r\nSubject: ")[2].partition(b"\r\nDate:")[0]
    first, *others = subject.split(b"\r\n ")
    assert all(len(line) <= MAX_LINE for line in [b"Subject: " + first, *(b" " + line for line in others)])
    for word in re.findall(rb"=\?utf-8\?b\?(.*?)\?=", subject):
        assert b64decode(word, validate=True).decode()


def words_of(text: str) -> list[str]:
    """Return the words; how much space stands between them is the library's business."""
    return text.split()
