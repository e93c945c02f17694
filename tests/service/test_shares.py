"""Limits per address: counted exactly, and in bounded memory."""

from __future__ import annotations

from service.shares import Rates, Shares


def test_what_is_given_back_is_forgotten() -> None:
    shares = Shares()

    with shares.holding("a", 3), shares.holding("a"), shares.holding("b"):
        assert (shares.held("a"), shares.held("b"), shares.held("c")) == (4, 1, 0)

    assert len(shares) == 0


def test_who_is_exempt_holds_nothing_and_waits_for_nothing() -> None:
    shares, rates = Shares(), Rates(1)

    with shares.holding(None, 1000):
        assert (shares.held(None), len(shares)) == (0, 0)
    assert [rates.seconds_until_next(None) for _ in range(5)] == [0] * 5


def test_a_rate_lets_so_many_at_once_and_then_as_many_as_come_free() -> None:
    now = [0.0]
    rates = Rates(60, clock=lambda: now[0])

    assert [rates.seconds_until_next("a") for _ in range(60)] == [0] * 60
    assert rates.seconds_until_next("a") == 1
    assert rates.seconds_until_next("b") == 0, "another's is its own"
    now[0] += 1
    assert [rates.seconds_until_next("a"), rates.seconds_until_next("a")] == [0, 1]


def test_who_tries_all_the_time_is_not_kept_out_for_ever() -> None:
    now = [0.0]
    rates = Rates(60, clock=lambda: now[0])
    allowed = 0
    for step in range(1200):
        now[0] = step / 10
        allowed += rates.seconds_until_next("a") == 0

    assert 170 <= allowed <= 190


def test_a_flood_of_addresses_takes_no_memory() -> None:
    rates = Rates(60, max_callers=100)

    for number in range(10_000):
        rates.seconds_until_next(str(number))

    assert len(rates) == 100
