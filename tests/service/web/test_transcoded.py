"""Which results are given as gzip too: every format is tried, and what is offered is what is made."""

from __future__ import annotations

import pytest

from service.codecs.terms import TRANSCODED, Format
from tests.service.web.in_process import InProcess

CONTENT = b"transcoded " * 1000


@pytest.mark.parametrize("format_name", Format)
def test_the_formats_that_are_offered_as_gzip_are_those_that_are_transcoded(
    app: InProcess, format_name: Format
) -> None:
    url = f"/jobs/{app.done(CONTENT, format=format_name)['id']}/result"

    stored, answer = app.client.get(url), app.client.get(url, params={"format": "gzip"})

    is_made = answer.status_code == 200 and answer.content != stored.content
    assert is_made is (format_name in TRANSCODED)
