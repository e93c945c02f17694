"""The pages offer as gzip what the service can give as gzip: no more, and no less."""

from __future__ import annotations

import json
import re

from service.codecs.archive import ARCHIVES, TarArchive
from service.codecs.codec import CODECS
from service.codecs.terms import TRANSCODED
from service.web.page.pages import STATIC


def test_every_stream_that_is_not_gzip_already_is_offered_as_gzip() -> None:
    tars = {archive.format for archive in ARCHIVES.values() if isinstance(archive, TarArchive)}

    assert {str(name) for name in set(CODECS) | tars} - {"gzip", "tar.gz"} == set(TRANSCODED)


def test_the_script_offers_the_same_as_the_server() -> None:
    [listed] = re.findall(r"TRANSCODED = new Set\((\[.*?\])\)", (STATIC / "row.js").read_text())

    assert set(json.loads(listed)) == set(TRANSCODED)
