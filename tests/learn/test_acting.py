"""From weights to an action: the arm's part, the grippers' part, and chance."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.learn.sac import Sac
from tests.learn.conftest import SMALL, SPECS

SPEC = SPECS["gripper"]


@pytest.fixture(scope="module")
def sac_and_weights():
    sac = Sac(SPEC, SMALL)
    return sac, sac.acting(sac.init(jax.random.key(0)))


def favouring(weights, choice):
    """The same, with this choice worth more than the other wherever one is."""
    head = weights["choice"]["params"]["Dense_0"]
    bias = jnp.zeros_like(head["bias"]).at[choice].set(100.0)
    params = {**weights["choice"]["params"], "Dense_0": {**head, "bias": bias}}
    return {**weights, "choice": {"params": params}}


@pytest.mark.parametrize(("choice", "sent"), [(0, -1.0), (1, 1.0)])
def test_the_gripper_does_what_is_worth_most_and_the_arm_is_not_touched(
    sac_and_weights, choice, sent
):
    sac, weights = sac_and_weights
    observation = sac.network.blank(SPEC)
    plain = sac.network.act(SPEC, weights, observation, None)
    action = jax.jit(lambda w: sac.network.act(SPEC, w, observation, None))(
        favouring(weights, choice)
    )
    assert float(action[1]) == sent
    assert float(action[0]) == pytest.approx(float(plain[0]), abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_exploring_takes_another_choice_as_often_as_epsilon_says(sac_and_weights, epsilon):
    """Half of the random draws are the other one of the two."""
    sac, weights = sac_and_weights
    network = replace(sac.network, epsilon=epsilon)
    observation = network.blank(SPEC)
    keys = jax.random.split(jax.random.key(1), 400)
    act = jax.jit(jax.vmap(lambda key: network.act(SPEC, favouring(weights, 1), observation, key)))
    closed = np.asarray(act(keys))[:, 1] < 0
    assert closed.mean() == pytest.approx(epsilon / 2, abs=0.07)
