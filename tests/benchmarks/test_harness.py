"""The benchmarks' own parts: a peer that does what the tutorial's does, a load generator that counts right."""

import gzip
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import client, listen
from benchmarks.full_table import changes
from benchmarks.listen import listening
from benchmarks.load import Order, message_end
from benchmarks.plan import QUICK, Context, log_text
from benchmarks.report import Row, Table, at_least, at_most, document
from benchmarks.rounds import Sample, interleave
from benchmarks.server import Server, free_port, running

CONTENT = log_text(5000)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("peer", tmp_path_factory.mktemp("peer")) as server:
        yield server


@pytest.fixture(scope="module")
def lean_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("lean peer", tmp_path_factory.mktemp("lean"), {"PEER_GZIP": "0"}) as server:
        yield server


def _stored(server: Server) -> set[Path]:
    return {path for path in server.folder.iterdir() if len(path.name) == 32}


def test_the_peer_accepts_an_upload_and_compresses_it(peer: Server) -> None:
    job_id = client.submit(peer, CONTENT)
    client.await_status(peer, job_id)

    assert (peer.folder / job_id).read_bytes() == CONTENT
    assert gzip.decompress((peer.folder / f"{job_id}.gz").read_bytes()) == CONTENT


def test_the_peer_told_not_to_compress_only_receives(lean_peer: Server) -> None:
    job_id = client.submit(lean_peer, CONTENT)

    assert client.job_status(lean_peer, job_id) == "queued"
    assert not (lean_peer.folder / f"{job_id}.gz").exists()


def test_the_clients_upload_the_bytes_of_a_file(lean_peer: Server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    before = _stored(lean_peer)

    client.curl_seconds(["-F", f"file=@{source}", f"http://127.0.0.1:{lean_peer.port}/uploads"])
    client.parallel_seconds(lean_peer.port, source, 3)

    assert [path.read_bytes() for path in _stored(lean_peer) - before] == [CONTENT] * 4


def test_curl_that_is_refused_is_an_error(lean_peer: Server) -> None:
    with pytest.raises(client.BenchmarkError, match="status 405"):
        client.curl_seconds(["-T", "/dev/null", f"http://127.0.0.1:{lean_peer.port}/uploads"])


def test_the_load_generator_counts_every_accepted_upload(lean_peer: Server) -> None:
    """The stored files are the second count; what was under way at the end is in only one of the two."""
    connections = 4
    before = len(_stored(lean_peer))

    requests = [client.form_request(CONTENT)]
    tally = client.load(Order(lean_peer.port, requests, 0.5, warm_up_seconds=0, connections=connections))

    stored = len(_stored(lean_peer)) - before
    assert list(tally["statuses"]) == ["202"]
    assert stored - connections <= tally["statuses"]["202"] <= stored
    assert tally["dropped"] == 0
    assert 0 < tally["p50_milliseconds"] <= tally["p99_milliseconds"]


def test_the_load_generator_tells_other_answers_apart(lean_peer: Server) -> None:
    requests = [client.get_request("/jobs/none"), client.get_request("/hello")]

    tally = client.load(Order(lean_peer.port, requests, 1.0))

    assert sorted(tally["statuses"]) == ["200", "404"]


@pytest.mark.parametrize(
    ("received", "end"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok", 46),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nokHTTP", 46),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\no", -1),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n", -1),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27),
    ],
)
def test_a_message_ends_where_its_content_length_says(received: bytes, end: int) -> None:
    assert message_end(received) == end


def test_listeners_hold_their_streams_and_tell_when_each_event_came(tmp_path: Path) -> None:
    with running("vacpack", tmp_path, {"VACPACK_EMBEDDED_WORKER": "false"}) as server:
        client.submit(server, CONTENT)
        job_id, change = changes(tmp_path / "vacpack.db")
        with listening(listen.Order(server.port, [f"/jobs/{job_id}/events"] * 3)) as listeners:
            opened = time.perf_counter()

        assert {name: len(moments) for name, moments in listeners.tally.arrivals.items()} == {"2": 3}
        assert max(listeners.tally.arrivals["2"]) <= opened
        assert change() == "3"


def test_listeners_that_are_refused_are_an_error(lean_peer: Server) -> None:
    order = listen.Order(lean_peer.port, ["/jobs/none/events"] * 2)

    with pytest.raises(RuntimeError, match="2 of 2 streams broke"), listening(order):
        pass


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr("benchmarks.server.free_port", lambda: taken.getsockname()[1])

        with pytest.raises(RuntimeError, match="address already in use"), running("sink", tmp_path):
            pass


def test_rounds_alternate_replace_noise_and_keep_the_quietest() -> None:
    order: list[str] = []
    foreign = iter([0.5, 0.5, 0.0, 0.0, 0.0, 0.0])

    def sample(name: str, seconds: float) -> Sample:
        order.append(name)
        return Sample({"seconds": seconds}, next(foreign))

    results = interleave({"ours": lambda: sample("ours", 1), "theirs": lambda: sample("theirs", 2)}, rounds=2)

    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert results.ratios("seconds", "ours", "theirs") == [0.5, 0.5]
    assert results.foreign() == 0.0


def test_the_page_tells_ratio_target_and_whether_it_is_met() -> None:
    rows = [
        Row("form: MB/s", "900", "450", [1.8, 2.0, 2.1], at_least(1.5)),
        Row("memory growth", "70.0", "50.0", [70.0], at_most(64, "MiB")),
    ]

    page = document([Table("Uploads", "By curl.", rows, rounds=3, foreign=0.02)], "python -m benchmarks")

    assert "| form: MB/s | 900 | 450 | **2.000x** (1.80..2.10) | at least 1.5x | yes |" in page
    assert "| memory growth | 70.0 | 50.0 | **70.000 MiB** (70.00..70.00) | at most 64 MiB | **no** |" in page
    assert "By curl. Rounds: 3; foreign 2%." in page
    assert "- Command: `python -m benchmarks`" in page


def test_a_context_hands_out_each_folder_once(tmp_path: Path) -> None:
    context = Context(QUICK, tmp_path)

    names = {context.fresh_folder("peer").name for _ in range(3)}

    assert names == {"000-peer", "001-peer", "002-peer"}
    assert context.random_file(1000).stat().st_size == 1000
    assert statistics.mean(log_text(1000)) > 32
    assert free_port() > 0
