"""Thresholds that keep their promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue
from robostack.study.conformal import highest, least, p_value, threshold, true_rate

shares = st.floats(0.01, 0.99)


def test_the_threshold_is_the_score_of_the_right_rank():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))
    assert threshold(scores, 0.05) == 19.0  # k = 20 * 0.95 = 19, not 20 by the last digit
    assert threshold(scores, 0.1) == 18.0
    assert threshold(scores, 0.5) == 10.0


@given(shares)
def test_one_score_less_than_enough_gives_no_threshold(alpha):
    count = least(alpha)
    assert math.isfinite(threshold(np.zeros(count), alpha)) if count else True
    assert threshold(np.zeros(max(0, count - 1)), alpha) == math.inf or count == 0
    assert [least(a) for a in (0.5, 0.1, 0.05, 0.01)] == [1, 9, 19, 99]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), shares)
def test_the_promise_holds_for_every_set_of_scores_ties_too(values, alpha):
    """Exchangeable: leave each out in turn, and at most alpha of them lie above the threshold of the others."""
    scores = np.array(values, float)
    above = [s > threshold(np.delete(scores, i), alpha) for i, s in enumerate(scores)]
    assert np.mean(above) <= alpha + 1e-9


@given(st.lists(st.floats(-5, 5), max_size=40), st.floats(-6, 6), shares)
def test_a_score_is_above_the_threshold_exactly_when_its_p_value_is_at_most_alpha(
    values, score, alpha
):
    scores = np.array(values)
    above = score > threshold(scores, alpha)
    assert above == (p_value(scores, score) <= alpha + 1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_rate_of_new_scores_above_is_alpha_on_average_and_spreads_as_told(alpha):
    rng, count, sets = np.random.default_rng(0), 39, 2000
    rates = [1.0 - threshold(rng.uniform(size=count), alpha) for _ in range(sets)]  # exact: U(0, 1)
    assert np.mean(rates) == pytest.approx(alpha, abs=0.004) and np.mean(rates) <= alpha + 0.002
    low, high = true_rate(count, alpha)
    assert np.mean([low <= rate <= high for rate in rates]) == pytest.approx(0.95, abs=0.015)


def test_calibrated_on_episodes_alarms_are_as_rare_as_promised_and_on_steps_they_are_not():
    """Scores of neighbouring steps are alike, as a policy's are: an AR(1) process of 100 steps an episode."""
    rng, alpha = np.random.default_rng(0), 0.05

    def scores(episodes: int) -> np.ndarray:
        noise, value, found = rng.normal(size=(100, episodes)), np.zeros(episodes), []
        for step in noise:
            value = 0.9 * value + np.sqrt(1 - 0.9**2) * step
            found.append(value)
        return np.stack(found, 1)

    calibration, new = scores(999), scores(4000)
    numbers = np.repeat(np.arange(999), 100)
    _, maxima = highest(calibration.ravel(), numbers)
    by_episode = np.mean(new.max(1) > threshold(maxima, alpha))
    by_step = np.mean(new.max(1) > threshold(calibration.ravel(), alpha))
    assert by_episode == pytest.approx(alpha, abs=0.02)
    assert by_step > 0.4  # about every second good episode


def test_the_highest_score_of_each_episode_is_found_whatever_the_order():
    names, found = highest(np.array([1.0, 5.0, 2.0, -1.0]), np.array([7, 3, 7, 3]))
    assert names.tolist() == [3, 7] and found.tolist() == [5.0, 2.0]


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_a_share_that_is_none_is_refused(alpha):
    with pytest.raises(BadValue, match="alpha is .*, expected between 0 and 1"):
        threshold(np.zeros(3), alpha)


def test_scores_that_are_nan_are_refused():
    with pytest.raises(BadValue, match="2 of 3 scores are NaN"):
        threshold(np.array([np.nan, 1.0, np.nan]), 0.5)


def test_the_spread_of_too_few_scores_is_refused():
    with pytest.raises(BadValue, match="count is 18, expected at least 19"):
        true_rate(18, 0.05)
