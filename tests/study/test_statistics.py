"""Intervals that hold what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue
from robostack.study.statistics import bootstrap, clopper_pearson, iqm, rolling_mean, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_rate_and_stays_within_0_and_1(counts):
    wins, trials = counts
    low, high = wilson(wins, trials)
    assert 0.0 <= low <= wins / trials <= high <= 1.0


@pytest.mark.parametrize(
    ("wins", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
        (98, 100, 0.9300, 0.9945),
    ],
)  # Newcombe 1998 and R's prop.test(correct=FALSE)
def test_interval_agrees_with_published_numbers(wins, trials, low, high):
    assert wilson(wins, trials) == pytest.approx((low, high), abs=2e-4)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng, rate, trials = np.random.default_rng(0), 0.95, 100
    inside = [
        low <= rate <= high
        for low, high in (wilson(int(w), trials) for w in rng.binomial(trials, rate, 2000))
    ]
    assert 0.93 < np.mean(inside) < 0.985


@pytest.mark.parametrize(
    ("wins", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (1, 20, 0.0013, 0.2487), (50, 100, 0.3983, 0.6017), (10, 10, 0.6915, 1)],
)  # R's binom.test
def test_exact_interval_agrees_with_published_numbers(wins, trials, low, high):
    assert clopper_pearson(wins, trials) == pytest.approx((low, high), abs=2e-4)


@pytest.mark.parametrize("rate", [0.0, 0.003, 0.02, 0.1, 0.5, 0.97])
def test_exact_interval_covers_every_truth_at_least_as_often_as_it_says(rate):
    """Summed over all outcomes: no chance in it."""
    trials = 60
    chance = [math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(61)]
    inside = [low <= rate <= high for low, high in (clopper_pearson(k, trials) for k in range(61))]
    assert sum(c for c, i in zip(chance, inside, strict=True) if i) >= 0.95


def test_nothing_is_known_without_trials():
    assert wilson(0, 0) == clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("wins", "trials"), [(-1, 10), (11, 10)])
@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_counts_that_cannot_be_are_refused(interval, wins, trials):
    with pytest.raises(BadValue, match="0 <= successes <= trials"):
        interval(wins, trials)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=50), st.integers(1, 20))
def test_rolling_mean_is_the_mean_of_the_last_few(values, window):
    found = rolling_mean(np.array(values), window)
    wanted = [np.mean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([1.0, 2.0], 1.5),
        ([0.0, 1.0, 2.0, 90.0], 1.5),  # the middle two
        ([0.0, 1.0, 2.0, 3.0, 100.0], (0.75 * 1 + 2 + 0.75 * 3) / 2.5),
        ([[0.0, 90.0], [2.0, 1.0]], 1.5),  # whatever the shape and order
    ],
)
def test_iqm_is_the_mean_of_the_middle_half(values, expected):
    assert iqm(values) == pytest.approx(expected)


def test_bootstrap_draws_within_each_group():
    """Two groups without spread have none together, though they differ."""
    assert bootstrap([[1.0, 1.0], [5.0, 5.0]], np.mean) == (3.0, 3.0)
    low, high = bootstrap([[0.0, 1.0, 2.0, 3.0], [10.0]], np.mean)
    assert low < np.mean([0, 1, 2, 3, 10]) < high
    assert bootstrap([[0.0, 1.0, 2.0]], seed=1) == bootstrap([[0.0, 1.0, 2.0]], seed=1)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = bootstrap([rng.normal(size=20)], np.mean, draws=200)
        hits += low <= 0.0 <= high
    assert 170 <= hits <= 199
