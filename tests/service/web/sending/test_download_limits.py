"""Downloads are so many at a time, and those that are made as they are sent are fewer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.web.sending.download_limits import CONVERSIONS, DownloadLimit
from tests.service.web.in_process import ADMIN, InProcess, from_address

MANY = from_address("192.0.2.1")
OTHER = from_address("192.0.2.2")


def test_they_are_limited_per_address_and_in_all(start: Callable[..., InProcess]) -> None:
    app = start(max_conversions=2, max_conversions_per_address=1)
    url = f"/jobs/{app.done()['id']}"
    held = app.parts.conversions

    held.count("192.0.2.1", 1)
    refusal = app.refusal("GET", f"{url}/result?format=gzip", 429, "address_share", headers=MANY)
    assert refusal["limit"] == "max_conversions_per_address"
    app.refusal("GET", f"{url}/original", 429, "address_share", headers=MANY | {"Accept-Encoding": "identity"})
    assert app.client.get(f"{url}/result", headers=MANY).status_code == 200, "as it is stored"
    assert app.client.head(f"{url}/result?format=gzip", headers=MANY).status_code == 200, "nothing is made"
    assert app.client.get(f"{url}/result?format=gzip", headers=OTHER).status_code == 200

    held.count(None, 1)
    app.refusal("GET", f"{url}/result?format=gzip", 503, "too_many_conversions", headers=OTHER)
    metrics = app.client.get("/metrics", headers=ADMIN).text
    assert 'vacpack_limits_met_total{limit="max_conversions_per_address"} 2.0' in metrics


@pytest.mark.parametrize("wanted", ["result?format=gzip", "original"])
def test_one_that_has_been_sent_is_counted_no_more(app: InProcess, wanted: str) -> None:
    job = app.done()
    for _ in range(20):
        assert app.client.get(f"/jobs/{job['id']}/{wanted}", headers=MANY).status_code == 200

    assert app.parts.conversions.under_way == 0
    assert len(app.parts.conversions._shares) == 0


def test_who_is_exempt_counts_in_all_only() -> None:
    conversions = DownloadLimit(CONVERSIONS, in_all=3, per_address=1)
    for _ in range(3):
        conversions.check(None)
        conversions.count(None, 1)

    assert conversions.under_way == 3


def test_downloads_of_stored_bytes_are_limited_too(start: Callable[..., InProcess]) -> None:
    app = start(max_downloads=2, max_downloads_per_address=1)
    url = f"/jobs/{app.done()['id']}/result"
    held = app.parts.downloads

    held.count("192.0.2.1", 1)
    refusal = app.refusal("GET", url, 429, "address_share", headers=MANY)
    assert refusal["limit"] == "max_downloads_per_address"
    assert app.client.head(url, headers=MANY).status_code == 200
    assert app.client.get(url, headers=OTHER).status_code == 200

    held.count(None, 1)
    app.refusal("GET", url, 503, "too_many_downloads", headers=OTHER)
    held.count(None, -1)
    held.count("192.0.2.1", -1)
    assert app.client.get(url, headers=MANY).status_code == 200
    assert held.under_way == 0
