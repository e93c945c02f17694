"""Who may come in: by size, by the queue's length, and by the room left for everybody who has been let in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import ADDRESS_SHARE, QUEUE_FULL, STORAGE_FULL, UPLOAD_TOO_LARGE, ServiceError
from service.intake import admission
from service.intake.admission import STRIDE_BYTES, Admission, Limits, Reservation
from service.intake.queue_shares import QueueLimits
from storage.jobs.job_views import Backlog

GIB = 1024**3
PLENTY = 1000 * GIB


class Disk:
    """A disk and a table as admission sees them."""

    def __init__(self, free_bytes: int = PLENTY, queued: int = 0, source_bytes: int = 0) -> None:
        self.free_bytes = free_bytes
        self.backlog = Backlog(queued, 0, source_bytes, 0.0)
        self.looks = 0

    def free(self) -> int:
        return self.free_bytes

    def read(self) -> Backlog:
        self.looks += 1
        return self.backlog


def admission_over(disk: Disk, **limits: Any) -> Admission:
    table: dict[str, int] = {"max_upload_bytes": 10 * GIB, "max_queued_jobs": 10, "min_free_bytes": 0}
    return Admission(Limits(**table | limits), free_bytes=disk.free, backlog=disk.read)


def refused(act: Any, *arguments: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        act(*arguments)
    return caught.value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test moves: its only item is the time."""
    now = [1000.0]
    monkeypatch.setattr(admission.time, "monotonic", lambda: now[0])
    return now


def test_an_upload_of_the_largest_size_comes_in_and_a_byte_more_does_not() -> None:
    gate = admission_over(Disk(), max_upload_bytes=100)

    gate.admit(100)
    refusal = refused(gate.admit, 101)

    assert refusal.kind is UPLOAD_TOO_LARGE
    assert refusal.members == {"max_upload_bytes": 100}


def test_an_upload_that_did_not_say_its_size_is_stopped_at_the_largest() -> None:
    reservation = admission_over(Disk(), max_upload_bytes=100).admit(None)

    reservation.take(60)
    reservation.take(40)
    assert refused(reservation.take, 1).kind is UPLOAD_TOO_LARGE


def test_a_full_queue_lets_nobody_in_and_says_when_to_come_back() -> None:
    gate = admission_over(Disk(queued=10))

    refusal = refused(gate.admit, 1)

    assert refusal.kind is QUEUE_FULL
    assert refusal.headers == {"Retry-After": "30"}


def test_jobs_let_in_count_before_the_table_is_looked_at_again(clock: list[float]) -> None:
    disk = Disk(queued=8)
    gate = admission_over(disk)

    for _ in range(2):
        gate.admit(1).close(became_job=True)

    assert gate.queued == 10
    assert refused(gate.admit, 1).kind is QUEUE_FULL
    disk.backlog = Backlog(0, 0, 0, 0.0)
    clock[0] += admission.REFRESH_SECONDS
    gate.admit(1)


def test_uploads_given_up_do_not_count_as_jobs() -> None:
    gate = admission_over(Disk(queued=9))

    for _ in range(5):
        gate.admit(1).close(became_job=False)

    assert gate.queued == 9


def test_room_is_kept_for_the_upload_and_its_result_above_the_reserve() -> None:
    gate = admission_over(Disk(free_bytes=300), min_free_bytes=100)

    refusal = refused(gate.admit, 101)

    assert refusal.kind is STORAGE_FULL
    assert refusal.members == {"needed_bytes": 202}
    gate.admit(100)


def test_reservations_of_parallel_uploads_add_up() -> None:
    gate = admission_over(Disk(free_bytes=1000))
    first = gate.admit(300)
    gate.admit(200)

    assert refused(gate.admit, 1).kind is STORAGE_FULL

    first.close(became_job=False)
    gate.admit(300)


def test_what_is_only_announced_keeps_nobody_out() -> None:
    gate = admission_over(Disk(free_bytes=20 * GIB))

    for _ in range(8):
        gate.admit(9 * GIB)

    gate.admit(9 * GIB)
    assert gate._reserved_bytes == 9 * 2 * STRIDE_BYTES


def test_an_announced_length_that_does_not_fit_is_refused_at_once() -> None:
    assert refused(admission_over(Disk(free_bytes=10 * GIB)).admit, 6 * GIB).kind is STORAGE_FULL


def test_an_announced_upload_reserves_as_it_comes_and_no_more_than_it_announced() -> None:
    gate = admission_over(Disk())
    reservation = gate.admit(STRIDE_BYTES + 10)

    reservation.take(STRIDE_BYTES)
    assert gate._reserved_bytes == STRIDE_BYTES, "the room for the result of what has come"
    reservation.take(1)
    assert gate._reserved_bytes == STRIDE_BYTES + 1 + 2 * 9


def test_what_arrives_counts_as_waiting() -> None:
    gate = admission_over(Disk(), max_queued_jobs=2)
    first = gate.admit(1)
    gate.admit(1)

    assert refused(gate.admit, 1).kind is QUEUE_FULL

    first.close(became_job=False)
    gate.admit(1)


def test_one_address_holds_no_more_than_its_share_of_the_room_ahead_of_what_it_sends() -> None:
    gate = admission_over(Disk(free_bytes=20 * STRIDE_BYTES), max_reserved_percent_per_address=20)
    reservations = [gate.admit(None, "192.0.2.1") for _ in range(2)]

    refusal = refused(gate.admit, None, "192.0.2.1")
    assert (refusal.kind, refusal.members) == (ADDRESS_SHARE, {"limit": "max_reserved_percent_per_address"})
    assert refusal.headers == {"Retry-After": "30"}
    gate.admit(None, "192.0.2.2")
    gate.admit(None, None)

    for reservation in reservations:
        reservation.close(became_job=False)
    gate.admit(None, "192.0.2.1")


def test_one_address_has_no_more_than_its_places_in_the_queue(clock: list[float]) -> None:
    disk = Disk()
    disk.backlog = Backlog(3, 0, 0, 0.0, {"192.0.2.1": (2, 0), "192.0.2.2": (1, 0)})
    gate = admission_over(disk, max_queued_jobs=100, per_address=QueueLimits(max_jobs=4, max_bytes=GIB))
    gate.admit(1, "192.0.2.1")
    gate.admit(1, "192.0.2.1").close(became_job=True)

    refusal = refused(gate.admit, 1, "192.0.2.1")
    assert (refusal.kind, refusal.members) == (ADDRESS_SHARE, {"limit": "max_queued_jobs_per_address"})
    gate.admit(1, "192.0.2.2")
    for _ in range(9):
        gate.admit(1, None)

    disk.backlog = Backlog(0, 0, 0, 0.0)
    clock[0] += admission.REFRESH_SECONDS
    gate.admit(1, "192.0.2.1")


def test_one_address_has_no_more_than_its_bytes_under_way() -> None:
    disk = Disk()
    disk.backlog = Backlog(1, 0, 0, 0.0, {"192.0.2.1": (1, 4 * STRIDE_BYTES)})
    limits = QueueLimits(max_jobs=100, max_bytes=7 * STRIDE_BYTES)
    gate = admission_over(disk, max_queued_jobs=100, per_address=limits)

    assert refused(gate.admit, 4 * STRIDE_BYTES, "192.0.2.1").members == {"limit": "max_queued_bytes_per_address"}
    unannounced = gate.admit(None, "192.0.2.1")
    unannounced.take(3 * STRIDE_BYTES)
    assert refused(unannounced.take, 1).kind is ADDRESS_SHARE
    unannounced.close(became_job=False)
    gate.admit(3 * STRIDE_BYTES, "192.0.2.1")
    gate.admit(9 * STRIDE_BYTES, "192.0.2.2").take(9 * STRIDE_BYTES)


def test_one_upload_of_an_address_may_always_come() -> None:
    gate = admission_over(Disk(free_bytes=2 * STRIDE_BYTES), max_reserved_percent_per_address=1)

    gate.admit(None, "192.0.2.1")


def test_what_has_arrived_does_not_count_as_held_ahead() -> None:
    gate = admission_over(Disk(free_bytes=100 * STRIDE_BYTES), max_reserved_percent_per_address=2)
    gate.admit(None, "192.0.2.1").take(STRIDE_BYTES)

    gate.admit(None, "192.0.2.1")


def test_what_waiting_jobs_may_yet_write_is_kept_free() -> None:
    gate = admission_over(Disk(free_bytes=1000, source_bytes=800))

    assert refused(gate.admit, 101).kind is STORAGE_FULL
    gate.admit(100)


def test_the_room_for_a_result_stays_reserved_when_the_upload_became_a_job(clock: list[float]) -> None:
    disk = Disk(free_bytes=1000)
    gate = admission_over(disk)
    reservation = gate.admit(300)
    reservation.take(300)
    disk.free_bytes -= 300
    reservation.close(became_job=True)

    # 1000 less the 300 stored, less 300 for its result.
    assert refused(gate.admit, 201).members == {"needed_bytes": 402}
    gate.admit(200).close(became_job=False)
    disk.backlog = Backlog(1, 0, 300, 0.0)
    clock[0] += 1
    assert refused(gate.admit, 201).kind is STORAGE_FULL
    gate.admit(200)


def test_an_upload_without_a_size_reserves_as_it_comes() -> None:
    gate = admission_over(Disk(free_bytes=2 * 3 * STRIDE_BYTES))
    reservation = gate.admit(None)
    for _ in range(3):
        reservation.take(STRIDE_BYTES)

    assert refused(reservation.take, 1).kind is STORAGE_FULL


def test_a_long_upload_sees_room_that_others_took_meanwhile(clock: list[float]) -> None:
    disk = Disk(free_bytes=PLENTY)
    reservation = admission_over(disk).admit(None)
    reservation.take(STRIDE_BYTES)
    disk.free_bytes = 0
    clock[0] += 1

    assert refused(reservation.take, 1).kind is STORAGE_FULL


def test_the_table_is_looked_at_a_few_times_a_second_only(clock: list[float]) -> None:
    disk = Disk()
    gate = admission_over(disk)
    for _ in range(100):
        gate.admit(1).close(became_job=False)
    assert disk.looks == 1

    clock[0] += admission.REFRESH_SECONDS
    gate.admit(1)
    assert disk.looks == 2


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 1000) | st.integers(0, 4 * STRIDE_BYTES),
            st.lists(st.integers(0, 1000) | st.integers(0, 2 * STRIDE_BYTES), max_size=5),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_when_all_are_closed_nothing_is_reserved(
    uploads: list[tuple[int | None, list[int], bool]],
) -> None:
    gate = admission_over(Disk(), max_queued_jobs=1000)
    reservations: list[tuple[Reservation, bool]] = []
    for declared, chunks, became_job in uploads:
        reservation = gate.admit(declared, "192.0.2.1")
        for chunk in chunks:
            reservation.take(chunk)
        reservations.append((reservation, became_job))

    for reservation, became_job in reservations:
        reservation.close(became_job=became_job)
        assert gate._reserved_bytes >= 0

    assert gate._reserved_bytes == 0
    assert len(gate._ahead) == len(gate._queue_shares._arriving_jobs) == len(gate._queue_shares._arriving_bytes) == 0
    assert gate._arriving == 0
    assert gate.queued == sum(became_job for _, became_job in reservations)


def test_room_is_made_before_an_upload_is_refused_and_not_counted_twice() -> None:
    disk, asked = Disk(free_bytes=100), list[int]()

    def make_room(size_bytes: int) -> int:
        asked.append(size_bytes)
        return size_bytes if size_bytes <= 60 else 0

    gate = Admission(
        Limits(10 * GIB, 10, 0),
        free_bytes=disk.free,
        backlog=disk.read,
        make_room=make_room,
        spare_bytes=lambda: 60,
    )

    gate.admit(50)
    assert asked == [], "there is room"
    gate.admit(30)
    assert asked == [60]
    assert refused(gate.admit, 31).kind is STORAGE_FULL
    assert asked == [60], "what cannot have room is refused before any is made"


def test_what_is_only_announced_frees_nothing() -> None:
    asked = list[int]()
    gate = Admission(
        Limits(10 * GIB, 10, 0),
        free_bytes=lambda: 2 * STRIDE_BYTES,
        backlog=Disk().read,
        make_room=lambda size_bytes: asked.append(size_bytes) or 0,
        spare_bytes=lambda: GIB,
    )

    gate.admit(GIB // 4)

    assert asked == []


def test_who_is_refused_is_so_by_fresh_figures(clock: list[float]) -> None:
    disk = Disk(queued=10)
    gate = admission_over(disk)
    assert refused(gate.admit, 1).kind is QUEUE_FULL
    disk.backlog = Backlog(9, 0, 0, 0.0)

    assert refused(gate.admit, 1).kind is QUEUE_FULL, "looked at this moment"
    clock[0] += 0.06
    gate.admit(1)


def test_a_job_that_enters_again_takes_a_place_like_an_upload(clock: list[float]) -> None:
    limits = QueueLimits(max_jobs=2, max_bytes=100)
    gate = admission_over(Disk(), max_queued_jobs=3, per_address=limits)
    for _ in range(2):
        with gate.again(10, "a"):
            assert gate.arriving == 1

    with pytest.raises(ServiceError) as caught, gate.again(10, "a"):
        pass
    assert caught.value.kind is ADDRESS_SHARE
    with suppress(RuntimeError), gate.again(10, "b"):
        raise RuntimeError("the change failed")
    with gate.again(10, "b"):
        pass
    with pytest.raises(ServiceError) as caught, gate.again(10, None):
        pass
    assert caught.value.kind is QUEUE_FULL
    assert (gate.arriving, gate.queued) == (0, 3)
