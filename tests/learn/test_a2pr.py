"""A2PR, which IQL is measured against: its two losses by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.a2pr import distance, vae_loss

ACTION, ALIKE, LOGGED = jnp.array([0.5, 0.0]), jnp.array([0.5, 0.2]), jnp.array([0.5, 1.0])


@pytest.mark.parametrize(
    ("advantages", "expected"),
    [((0.1, 0.0), 0.02), ((0.1, 0.3), 0.5), ((-0.1, 0.3), 0.5), ((-0.1, -0.2), 0.0)],
)
def test_the_policy_stays_near_the_better_action_where_one_is_better_than_v(advantages, expected):
    found = jax.jit(distance)(ACTION, jnp.stack([ALIKE, LOGGED]), jnp.array(advantages))
    assert float(found) == pytest.approx(expected)


def test_the_distance_has_a_gradient_through_the_action_that_is_alike():
    def through(alike):
        return distance(ACTION, jnp.stack([alike, LOGGED]), jnp.array([0.1, 0.0]))

    assert np.asarray(jax.grad(through)(ALIKE)) == pytest.approx([0.0, 0.2])


def test_the_vae_is_taught_actions_that_were_better_than_v():
    mean, log_std = jnp.array([0.0, 2.0]), jnp.array([0.0, 0.0])
    of = jax.jit(vae_loss)
    divergence = 0.5 * 0.5 * 2.0  # half of half the mean square of the mean
    worse = of(ALIKE, LOGGED, mean, log_std, jnp.asarray(-0.1))
    better = of(ALIKE, LOGGED, mean, log_std, jnp.asarray(0.1))
    assert float(worse) == pytest.approx(divergence)
    assert float(better) == pytest.approx(divergence + 0.32)
