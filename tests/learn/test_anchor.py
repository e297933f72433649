"""The anchor: its distance by hand, and a weight that falls only while success holds."""

import json
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue
from robostack.learn.anchor import Anchor, Start, distance

CHOICES = Start("x", half_life=10, hold=0.9)
RESULTS = st.lists(st.booleans(), max_size=80)


def test_the_distance_by_hand_jitted_and_batched():
    mean, mean_0 = jnp.array([[0.5, 0.0], [1.0, 2.0]]), jnp.array([[0.0, 0.0], [1.0, 1.0]])
    first, second = np.tanh(0.5) ** 2, (np.tanh(2.0) - np.tanh(1.0)) ** 2
    for of in (distance, jax.jit(distance)):
        assert float(of(mean, mean_0)) == pytest.approx((first + second) / 2, abs=1e-6)
    rows = jax.vmap(lambda a, b: distance(a[None], b[None]))(mean, mean_0)
    assert rows == pytest.approx([first, second], abs=1e-6)


def filled(wins: int, of: int) -> Anchor:
    at = Anchor(0.1)
    for i in range(of):
        at = at.filled(i < wins)
    return at


@given(st.integers(0, 30), RESULTS)
def test_the_weight_never_grows_and_falls_only_while_success_holds(wins, results):
    at = filled(wins, 30)
    assert at.success == pytest.approx(wins / 30)
    for result in results:
        after = at.after(CHOICES, result)
        assert after.weight <= at.weight
        assert (after.weight < at.weight) == (after.success >= 0.9 * wins / 30)
        assert 0.0 <= after.success <= 1.0
        at = after


def test_the_weight_halves_in_a_half_life_of_success():
    at = filled(20, 30)
    for _ in range(10):
        at = at.after(CHOICES, True)
    assert at.weight == pytest.approx(0.05)


def test_the_weight_stays_when_success_is_lost():
    at = filled(30, 30)
    for _ in range(2):  # two failures: 0.95 ** 2 = 0.90
        at = at.after(CHOICES, False)
    held = at.after(CHOICES, False)
    assert at.weight < 0.1 and held.weight == at.weight


@given(RESULTS)
def test_the_anchor_goes_through_json(results):
    at = filled(3, 4)
    for result in results:
        at = at.after(CHOICES, result)
    assert Anchor(**json.loads(json.dumps(asdict(at)))) == at


@pytest.mark.parametrize(
    ("name", "value"),
    [("fill", 0), ("critic_steps", -1), ("anchor", -0.1), ("half_life", 0.0), ("hold", 1.1)],
)
def test_choices_that_make_no_sense_are_one_line(name, value):
    with pytest.raises(BadValue, match=rf"start\.{name} is {value}, expected"):
        Start(**{name: value})
