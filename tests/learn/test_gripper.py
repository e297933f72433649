"""The grippers' critic, against numbers worked out by hand, under jit and under vmap."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.learn import gripper


def test_every_choice_of_two_grippers_is_an_entry_and_back():
    table = gripper.entries(2)
    assert table.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    assert jax.jit(jax.vmap(gripper.chosen))(jnp.asarray(table)).tolist() == [0, 1, 2, 3]
    assert int(gripper.chosen(jnp.array([0.2, -0.7]))) == 1  # a person's hand is not exact


def test_target_takes_the_online_critics_choice_at_the_averaged_ones_value():
    """Choice 1 is best online, and worth 0.5 by the average: 0.1 + 0.9 * 0.5."""
    online, averaged = jnp.array([[0.2, 0.3]] * 2), jnp.array([[0.8, 0.5]] * 2)
    target = jax.jit(jax.vmap(partial(gripper.target, discount=0.9)))
    got = target(jnp.array([0.1, 1.0]), jnp.array([1.0, 0.0]), online, averaged)
    assert np.asarray(got) == pytest.approx([0.55, 1.0])


def test_margin_is_what_another_choice_lacks_to_be_clearly_worse():
    loss = jax.jit(jax.vmap(partial(gripper.margin_loss, margin=0.1)))
    values = jnp.array([[0.5, 0.45], [0.5, 0.2], [0.5, 0.7]])
    # 0.45 + 0.1 - 0.5; nothing; 0.7 + 0.1 - 0.5
    assert np.asarray(loss(values, jnp.zeros(3, int))) == pytest.approx([0.05, 0.0, 0.3])
