"""No published policy moves farther than it may, and a clear fall leads back."""

import itertools
import json
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robostack.core.errors import BadValue
from robostack.core.rates import wilson
from robostack.learn.publish import HALVINGS, Publishing, Record, held, moved


def mean_of(weights, observations):
    return observations @ weights["a"] + weights["b"][None]


def weights(seed: int, size: float = 1.0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "a": jnp.asarray(size * rng.normal(size=(3, 2)), jnp.float32),
        "b": jnp.asarray(size * rng.normal(size=(2,)), jnp.float32),
    }


def states(seed: int = 9) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(40, 3)), jnp.float32)


def test_the_distance_is_the_largest_move_of_any_action_dimension():
    mean, before = jnp.array([[0.0, 1.0], [0.2, 0.0]]), jnp.array([[0.0, 0.5], [0.2, -0.3]])
    expected = max(np.tanh(1.0) - np.tanh(0.5), np.tanh(0.3))
    assert float(moved(mean, before)) == pytest.approx(expected, abs=1e-6)
    assert float(jax.jit(moved)(mean, before)) == pytest.approx(expected, abs=1e-6)
    batched = jax.vmap(moved)(jnp.stack([mean, before]), jnp.stack([before, before]))
    assert batched == pytest.approx([expected, 0.0], abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 2.0))
def test_what_is_published_never_moves_more_than_the_bound(seed, bound):
    before, new = weights(seed), weights(seed + 1)
    kept, part, whole = held(mean_of, before, new, states(), jnp.float32(bound))
    mean = mean_of(before, states())
    assert float(moved(mean_of(kept, states()), mean)) <= bound + 1e-6
    assert 0.0 <= float(part) <= 1.0
    if float(whole) <= bound:
        assert all(np.array_equal(kept[name], new[name]) for name in new)
    elif float(part) + 2.0**-HALVINGS <= 1.0:
        # No more is held back than halving can tell.
        farther = {
            name: before[name] + (part + 2.0**-HALVINGS) * (new[name] - before[name])
            for name in new
        }
        assert float(moved(mean_of(farther, states()), mean)) > bound - 1e-6


def test_a_small_step_is_published_to_the_last_bit():
    before = weights(0)
    new = jax.tree.map(lambda x: x + 1e-3, before)
    kept, part, whole = held(mean_of, before, new, states(), jnp.float32(0.5))
    assert float(part) == 1.0 and 0.0 < float(whole) < 0.5
    assert all(np.array_equal(kept[name], new[name]) for name in new)


def test_one_state_that_moves_too_far_is_enough_to_hold():
    before = {"a": jnp.zeros((3, 2)), "b": jnp.zeros(2)}
    new = {"a": jnp.full((3, 2), 5.0), "b": jnp.zeros(2)}
    quiet = jnp.zeros((40, 3))
    assert float(held(mean_of, before, new, quiet, jnp.float32(0.1))[1]) == 1.0
    one = quiet.at[7].set(1.0)
    assert float(held(mean_of, before, new, one, jnp.float32(0.1))[1]) < 0.02


CHOICES = Publishing(rollback=10)
RESULTS = st.lists(st.booleans(), max_size=120)


def records(results, choices=CHOICES) -> list[Record]:
    found = [Record()]
    for result in results:
        found.append(found[-1].after(choices, result))
    return found


@given(RESULTS)
def test_the_best_never_falls_and_going_back_needs_a_clear_fall(results):
    found = records(results)
    for before, after in itertools.pairwise(found):
        assert after.best >= before.best
        assert not (after.is_best and after.is_fallen)
        if after.is_fallen:
            recent = (*before.recent, False)
            assert len(recent[-10:]) == 10
            assert wilson(sum(recent[-10:]), 10)[1] < wilson(after.best, 10)[0]
            assert after.recent == (), "a whole window must pass before the next time"


@given(RESULTS)
def test_a_record_goes_through_json(results):
    last = records(results)[-1]
    data = json.loads(json.dumps(asdict(last)))
    assert Record(**{**data, "recent": tuple(data["recent"])}) == last


def test_ten_wins_then_failures_lead_back_once_and_not_at_the_first_ones():
    found = records([True] * 10 + [False] * 10)
    assert found[10].is_best and found[10].best == 10
    fallen = [i - 10 for i, record in enumerate(found) if record.is_fallen]
    # 10 of 10: 72 to 100 %. 4 of 10: 17 to 69 %.
    assert fallen == [6]


def test_without_a_window_nothing_is_remembered():
    assert records([True] * 30, Publishing())[-1] == Record()


@pytest.mark.parametrize(
    ("name", "value"), [("bound", -1.0), ("states", 0), ("rollback", 4), ("rollback", -1)]
)
def test_choices_that_make_no_sense_are_one_line(name, value):
    with pytest.raises(BadValue, match=rf"publishing\.{name} is {value}, expected"):
        Publishing(**{name: value})
