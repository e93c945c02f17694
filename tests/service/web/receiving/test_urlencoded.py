"""Files sent as the fields of a web form: each client is told its own right line."""

from __future__ import annotations

import pytest

from service.web.receiving.urlencoded import advice
from tests.service.web.in_process import TEXT, InProcess

CLIENTS = {
    "curl/7.88.1": "curl -T FILE URL",
    "Wget/1.21.3": "--body-file=FILE",
    "Wget2/2.1.0": "--body-file=FILE",
    "axios/1.7.2": "axios.put(",
    "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.4291": "Invoke-RestMethod",
    "Mozilla/5.0 (Linux; Debian GNU/Linux 12; en-US) PowerShell/7.4.2": "Invoke-RestMethod",
    "python-requests/2.32.3": "requests.put(",
    "python-httpx/0.27.0": "httpx.post(",
    "Python-urllib/3.11": "urllib.request.Request(",
    "HTTPie/3.2.2": "http PUT URL",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36": 'enctype="multipart/form-data"',
    "Go-http-client/1.1": "or a form as multipart/form-data. With curl: curl -T FILE URL",
    "": "application/octet-stream, or a form as multipart/form-data",
}


@pytest.mark.parametrize("user_agent", CLIENTS)
def test_each_client_is_told_its_own_line(app: InProcess, user_agent: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": user_agent}

    line = app.client.post("/uploads", content=b"a=b", headers=headers | TEXT).text

    assert line.startswith("415 urlencoded: ")
    assert CLIENTS[user_agent] in line
    assert line.count("\n") == 1


def test_nobody_is_told_of_another_s_tool() -> None:
    for user_agent in ("Wget/1.21.3", "axios/1.7.2", "python-requests/2.32.3", "Python-urllib/3.11", "HTTPie/3.2.2"):
        assert "curl" not in advice(user_agent)
