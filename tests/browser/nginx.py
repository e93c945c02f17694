"""A real nginx before a service, below a path: a child of the test, everything of its own in a folder of the test."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.patience import until
from tests.parts import missing

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        location {path}/ {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            {more}
        }}
    }}
}}
"""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


@contextmanager
def nginx(folder: Path, *, port: int, path: str, upstream: str, more: str = "") -> Iterator[str]:
    """Run nginx while the block lasts; yield where the service is then."""
    if NGINX is None:
        missing("no nginx is installed (Debian's package: nginx-light)")
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, port=port, path=path, upstream=upstream, more=more),
    )
    command = [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _listens(process, port, folder), what="nginx")
            yield f"http://127.0.0.1:{port}{path}"
        finally:
            process.terminate()


def _listens(process: subprocess.Popen[bytes], port: int, folder: Path) -> bool:
    assert process.poll() is None, (folder / "error.log").read_text()
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0
