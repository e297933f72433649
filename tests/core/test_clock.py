"""Deadlines: absolute, skipped when missed, and lateness told."""

from datetime import datetime, timedelta

import pytest

from robostack.core import clock


class Time:
    """A clock moved by hand."""

    def __init__(self, monkeypatch):
        self.now, self.slept = 100.0, []
        monkeypatch.setattr(clock.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(clock.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch) -> Time:
    return Time(monkeypatch)


def test_ticks_come_at_absolute_deadlines(time):
    ticker = clock.Ticker(0.1)
    came = []
    for work in (0.03, 0.09, 0.0, 0.05):
        ticker.wait()
        came.append(time.now)
        time.now += work
    assert came == pytest.approx([100.0, 100.1, 100.2, 100.3])


def test_a_missed_tick_is_skipped_and_not_caught_up_with(time):
    ticker = clock.Ticker(0.1)
    ticker.wait()
    time.now += 0.35  # the ticks at 0.1, 0.2 and 0.3 have passed
    assert ticker.wait() == pytest.approx(0.25)
    assert time.now == pytest.approx(100.35)
    came = []
    for _ in range(3):
        assert ticker.wait() == pytest.approx(0.0, abs=1e-9)
        came.append(time.now)
    assert came == pytest.approx([100.4, 100.5, 100.6])


def test_the_first_tick_is_due_when_it_starts(time):
    ticker = clock.Ticker(0.1)
    ticker.start()
    time.now += 0.02
    assert ticker.wait() == pytest.approx(0.02)
    ticker.wait()
    assert time.now == pytest.approx(100.1)


def test_starting_again_forgets_the_debt(time):
    ticker = clock.Ticker(0.1)
    ticker.wait()
    time.now += 60.0
    ticker.start()
    assert ticker.wait() == 0.0


def test_lockstep_never_waits(time):
    ticker = clock.Ticker(None)
    assert [ticker.wait() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert time.slept == []


def test_sleeping_for_less_than_nothing_is_not_sleeping(time):
    clock.sleep(-1.0)
    assert time.now == 100.0


def test_wall_time_says_its_zone():
    assert datetime.fromisoformat(clock.wall_time()).utcoffset() == timedelta(0)
