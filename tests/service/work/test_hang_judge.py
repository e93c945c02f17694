"""Whether a worker hangs: what counts as getting on, and whose time counts."""

from __future__ import annotations

import pytest

from service.work.hang_judge import LONGEST_WAIT_SECONDS, START_SECONDS, STARVED_SHARE, Hang, HangJudge
from service.work.pulse import Doing, Pulse

HANG_SECONDS = 30.0
SILENCE_SECONDS = 10.0


class Scene:
    """A judge, its clock, and a worker that is at several things."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.steps: dict[str, int] = {}
        self.starved = 0.0
        self.extra: dict[str, float] = {}
        self.judge = HangJudge(hang_seconds=HANG_SECONDS, silence_seconds=SILENCE_SECONDS, clock=lambda: self.now)

    def second(self, *gets_on: str, is_heard: bool = True) -> Hang | None:
        """Let a second pass, in which these get on, and return the verdict."""
        self.now += 1
        for name in gets_on:
            self.steps[name] = self.steps.get(name, 0) + 1
        if is_heard:
            doing = {name: Doing(steps, self.extra.get(name, 0.0)) for name, steps in self.steps.items()}
            self.judge.heard(Pulse(doing, self.starved))
        return self.judge.judge()

    def seconds_until_a_verdict(self, *gets_on: str, is_heard: bool = True) -> tuple[int, str]:
        for second in range(1, 1000):
            if hang := self.second(*gets_on, is_heard=is_heard):
                return second, hang.what
        raise AssertionError("no verdict")


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    assert scene.second("quick", "slow") is None
    return scene


def test_who_gets_on_is_never_judged_however_long_it_takes(scene: Scene) -> None:
    assert [scene.second("quick", "slow") for _ in range(1000)] == [None] * 1000


def test_one_thread_that_gets_no_step_on_among_quick_ones_hangs(scene: Scene) -> None:
    seconds, what = scene.seconds_until_a_verdict("quick")

    assert what == "slow"
    assert HANG_SECONDS <= seconds <= HANG_SECONDS + 1


def test_a_slow_thread_that_gets_on_once_in_a_while_does_not(scene: Scene) -> None:
    for _ in range(20):
        assert [scene.second("quick") for _ in range(int(HANG_SECONDS) - 2)] == [None] * (int(HANG_SECONDS) - 2)
        assert scene.second("quick", "slow") is None


def test_a_process_that_says_nothing_hangs_sooner(scene: Scene) -> None:
    seconds, what = scene.seconds_until_a_verdict(is_heard=False)

    assert what == "the whole process"
    assert SILENCE_SECONDS <= seconds <= SILENCE_SECONDS + 1


def test_a_pulse_that_comes_late_is_in_time_before_the_verdict(scene: Scene) -> None:
    for _ in range(10):
        silent = int(SILENCE_SECONDS) - 1
        assert [scene.second(is_heard=False) for _ in range(silent)] == [None] * silent
        assert scene.second("quick", "slow") is None


def test_a_step_that_may_take_longer_is_given_that_time(scene: Scene) -> None:
    scene.extra["slow"] = 100.0
    scene.second("quick", "slow")

    seconds, what = scene.seconds_until_a_verdict("quick")

    assert what == "slow"
    assert HANG_SECONDS + 100 - 1 <= seconds <= HANG_SECONDS + 101


@pytest.mark.parametrize("absence", [2.0, 60.0, 86_400.0])
def test_time_in_which_the_judge_itself_was_away_does_not_count(scene: Scene, absence: float) -> None:
    """The machine slept, or the supervisor was stopped: no pulse was heard, and none could be."""
    for _ in range(int(SILENCE_SECONDS / LONGEST_WAIT_SECONDS) - 1):
        scene.now += absence
        assert scene.judge.judge() is None

    assert scene.second("quick", "slow") is None


def test_what_hung_is_found_all_the_same_after_a_sleep(scene: Scene) -> None:
    scene.now += 86_400

    seconds, what = scene.seconds_until_a_verdict("quick")

    assert what == "slow"
    assert seconds <= HANG_SECONDS + 1


def test_a_thread_that_others_keep_from_running_is_given_more_time_but_not_for_ever(scene: Scene) -> None:
    scene.starved = 1.0

    seconds, what = scene.seconds_until_a_verdict("quick")

    assert what == "slow"
    assert 3 * HANG_SECONDS < seconds <= HANG_SECONDS / STARVED_SHARE + 1


def test_what_is_over_or_waits_for_something_to_do_is_judged_no_more(scene: Scene) -> None:
    for _ in range(int(HANG_SECONDS) - 1):
        scene.second("quick")
    del scene.steps["slow"]

    assert [scene.second("quick") for _ in range(100)] == [None] * 100


def test_the_same_job_at_the_next_thing_begins_anew(scene: Scene) -> None:
    for _ in range(int(HANG_SECONDS) - 1):
        scene.second("quick")
    scene.steps["the same, recording"] = scene.steps.pop("slow")

    seconds, _ = scene.seconds_until_a_verdict("quick")

    assert seconds >= HANG_SECONDS


def test_a_process_that_has_not_said_anything_yet_may_load_its_program() -> None:
    scene = Scene()

    seconds, what = scene.seconds_until_a_verdict(is_heard=False)

    assert what == "the start of the process"
    assert START_SECONDS <= seconds <= START_SECONDS + 1


def test_a_pulse_arrives_as_it_was_sent_and_anything_else_is_none() -> None:
    pulse = Pulse({"compressing job abc": Doing(17, 2.5), "claiming": Doing(3)}, 0.25)

    assert Pulse.from_line(pulse.to_line().encode() + b"\n") == pulse
    for line in (b"up\n", b"\n", b"{}\n", b"[]\n", b'{"doing": {"a": 1}, "starved": 0}\n', b'{"doing": []', b"\xff\n"):
        assert Pulse.from_line(line) is None
