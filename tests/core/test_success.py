"""Conditions as text, and frames that must agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core import lie, observe
from robostack.core.errors import BadValue, RobostackError, UnknownName
from robostack.core.success import IN_BASE, TERMS, Condition, agreed, all_hold, in_base

POSE = np.array([0.5, 0.1, 0.3, 0.0, 1.0, 0.0, 0.0])


def test_terms_are_those_of_an_observation():
    terms = observe.terms_of(POSE, POSE, np.zeros(6), np.zeros(6), np.zeros(1), POSE, POSE, POSE)
    sizes = {name: value.shape[-1] for name, value in terms.items()}
    assert sizes | {IN_BASE: in_base(POSE).shape[-1]} == TERMS


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("tool_in_base.z <= 0.04", 0.04, True),
        ("tool_in_base.z <= 0.04", 0.0401, False),
        ("wrench.z >= -5", -5.0, True),
        ("wrench.z >= -5", -5.1, False),
        ("gripper >= 0.5", 0.6, True),
        ("-0.005 <= target_error.x <= 5e-3", -0.0049, True),
        ("-0.005 <= target_error.x <= 5e-3", 0.0051, False),
        ("target_error.rz >= 0.1", np.nan, False),
    ],
)
def test_a_condition_means_what_it_says(text, value, holds):
    condition = Condition.parse(text)
    terms = {name: np.full((1, size), value) for name, size in TERMS.items()}
    assert condition.holds(terms).tolist() == [holds]
    assert Condition.parse(condition.text) == condition


def test_a_condition_looks_at_its_own_axis():
    terms = {"target_error": np.arange(12.0).reshape(2, 6)}
    assert Condition.parse("8 <= target_error.z").holds(terms).tolist() == [False, True]
    assert Condition.parse("target_error.rx <= 3").holds(terms).tolist() == [True, False]


def test_the_pose_in_base_is_position_and_rotation_vector():
    turn = np.array([0.1, -0.2, 0.3])
    pose = np.concatenate([[1.0, 2.0, 3.0], lie.so3_exp(turn)])
    np.testing.assert_allclose(in_base(pose), [1, 2, 3, *turn], atol=1e-12)


def test_all_conditions_must_hold_and_none_is_no_condition():
    terms = {"gripper": np.array([[0.1], [0.5], [0.9]])}
    both = [Condition.parse("gripper >= 0.2"), Condition.parse("gripper <= 0.8")]
    assert all_hold(both, terms).tolist() == [False, True, False]
    assert all_hold([], terms).tolist() == [True] * 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool_in_base.z", "is no condition; write one like"),
        ("__import__('os') <= 1", "is no condition"),
        ("wrench.z < 4", "is no condition"),
        ("wrench.z <= nan", "is no condition"),
        ("height.z <= 4", 'no term "height"; there are: gripper,'),
        ("wrench <= 4", 'no axis of wrench ""; there are: rx, ry, rz, x, y, z'),
        ("gripper.x <= 4", 'no axis of gripper "x"'),
        ("5 <= wrench.z <= 4", "is 5 to 4, expected a lower bound first"),
    ],
)
def test_what_is_no_condition_is_one_line(text, said):
    with pytest.raises(RobostackError) as caught:
        Condition.parse(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_term_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match='no term "target_error"; there are: wrench'):
        Condition.parse("target_error.x <= 1").holds({"wrench": np.zeros(6)})


def test_agreed_is_the_score_that_so_many_of_the_last_frames_reach():
    scores = np.array([1.0, 5.0, 3.0, 4.0, 0.0])
    every = np.ones(5, bool)
    assert agreed(scores, every, 1, 1).tolist() == scores.tolist()
    assert agreed(scores, every, 2, 3).tolist() == [-np.inf, 1.0, 3.0, 4.0, 3.0]
    counts = np.array([True, False, True, True, True])
    assert agreed(scores, counts, 2, 3).tolist() == [-np.inf, -np.inf, 1.0, 3.0, 3.0]


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 5),
    st.integers(0, 4),
    st.floats(-3, 3),
)
def test_it_is_above_a_threshold_exactly_where_so_many_frames_are(frames, needed, more, threshold):
    scores, counts = np.array([f[0] for f in frames]), np.array([f[1] for f in frames])
    of = needed + more
    found = agreed(scores, counts, needed, of) > threshold
    for t in range(len(frames)):
        last = slice(max(0, t + 1 - of), t + 1)
        votes = np.count_nonzero((scores[last] > threshold) & counts[last])
        assert found[t] == (votes >= needed)


@pytest.mark.parametrize(("needed", "of"), [(0, 3), (4, 3)])
def test_a_hysteresis_that_cannot_be_is_refused(needed, of):
    with pytest.raises(BadValue, match=f"hysteresis is {needed} of {of} frames"):
        agreed(np.zeros(3), np.ones(3, bool), needed, of)
