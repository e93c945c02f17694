"""How much the threads were kept from running."""

from __future__ import annotations

from pathlib import Path

from service.work.starvation import Starvation


def test_the_thread_that_waited_most_counts_and_only_since_the_last_look(tmp_path: Path) -> None:
    now = 100.0

    def waited(task: str, seconds: float) -> None:
        (tmp_path / task).mkdir(exist_ok=True)
        (tmp_path / task / "schedstat").write_text(f"5 {round(seconds * 1e9)} 7\n")

    waited("1", 50)
    waited("2", 10)
    starvation = Starvation(tasks=tmp_path, clock=lambda: now)

    now += 2
    waited("1", 50.2)
    waited("2", 11)
    assert round(starvation.share(), 3) == 0.5

    now += 2
    assert starvation.share() == 0

    now += 2
    waited("1", 60)
    assert starvation.share() == 1


def test_a_system_that_does_not_tell_starves_nobody(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    for tasks in (tmp_path, tmp_path / "missing"):
        assert Starvation(tasks=tasks).share() == 0
