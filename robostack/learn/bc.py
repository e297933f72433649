"""Behaviour cloning: the SAC actor's network, trained on what the person did and on nothing else.

With demonstrations alone this is BC; with the steps that the person corrects in practice as well it is HG-DAgger
(Kelly et al., arXiv 1810.02890, algorithm 1): in both, every row of a batch is one where the person acted, and the
learner only sees more of them. Trained whole, eyes included; a frozen trunk stays frozen, its heads do not.

The arm's action is a Gaussian around tanh(mean) with standard deviation exp(log_std), in units of full action. It is
not the density of the squashed sample: that one is infinite at -1 and 1, where a person's full actions lie. The loss
is its negative log likelihood times the variance, held fixed (beta-NLL with beta 1, Seitzer et al., arXiv 2203.09168,
eq. 4), so the mean has the gradient of plain least squares, and places where the person varied are not given up.
Samples of the served network, whose noise is before the tanh, are a little nearer the mean than that. Grippers are
classified: cross entropy of the choices.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robostack.core.spec import Spec
from robostack.learn import acting, gripper
from robostack.learn.acting import Network
from robostack.learn.config import Config
from robostack.learn.nets import Observation
from robostack.learn.sac import Batch


class BcState(NamedTuple):
    """Everything a cloning learner needs to go on."""

    weights: dict
    served: dict  # moving average of the weights: what acts
    optimizer: optax.OptState
    key: jax.Array
    steps: jax.Array  # learner steps so far


def begun(weights: dict, config: Config, key: jax.Array) -> BcState:
    """The first state with these weights."""
    return BcState(
        weights=weights,
        served=jax.tree.map(jnp.copy, weights),
        optimizer=optax.adam(config.rate).init(weights),
        key=key,
        steps=jnp.zeros((), jnp.int32),
    )


def moved(state: BcState, gradient: dict, config: Config) -> BcState:
    """One learner step further along a loss's gradient."""
    updates, optimizer = optax.adam(config.rate).update(gradient, state.optimizer)
    weights: dict = optax.apply_updates(state.weights, updates)  # type: ignore[assignment]
    served = averaged(state.served, weights, state.steps, config.served_rate)
    return state._replace(
        weights=weights, served=served, optimizer=optimizer, steps=state.steps + 1
    )


def regression_loss(mean: jax.Array, log_std: jax.Array, action: jax.Array) -> jax.Array:
    """() beta-NLL of an action (m,) under a Gaussian around tanh(mean), averaged over its entries."""
    variance = jnp.exp(2.0 * log_std)
    likelihood = (action - jnp.tanh(mean)) ** 2 / (2.0 * variance) + log_std
    return jnp.mean(jax.lax.stop_gradient(variance) * likelihood)


def averaged(served: dict, weights: dict, steps: jax.Array, rate: float) -> dict:
    """The moving average after one more step: (1 + k)^(-3/4) of the newest at first, `rate` in the end.

    So an average over few steps is not mostly the start (AdaFlow's code, whose power this is).
    """
    share = jnp.maximum(rate, (1.0 + steps) ** -0.75)
    return optax.incremental_update(weights, served, share)  # type: ignore[return-value]


@dataclass(frozen=True)
class Bc:
    """The choices, and what follows from them; pure. One learner step is one update."""

    spec: Spec
    config: Config = Config()  # noqa: RUF009 - frozen

    person_only = True  # rows of a batch
    horizon = 0  # no chunks: the one action that was taken
    updates = 1  # batches that a step takes

    @cached_property
    def network(self) -> Network:
        """What its weights are of. In practice too it does what it has learned, and nothing at random."""
        return replace(acting.network_of(self.spec, self.config), explores=False, epsilon=0.0)

    @cached_property
    def _arm(self) -> np.ndarray:
        return acting.arm_places(self.spec)

    @cached_property
    def _grippers(self) -> np.ndarray:
        return acting.gripper_places(self.spec)

    def init(self, key: jax.Array) -> BcState:
        """A fresh state."""
        key, actor_key, eyes_key, choice_key = jax.random.split(key, 4)
        network, observation = self.network, self.network.blank(self.spec)
        weights = {"actor": dict(network.actor(self.spec).init(actor_key, observation))}
        if len(self._grippers):
            weights["eyes"] = dict(network.eyes.init(eyes_key, observation))
            seen = network.eyes.apply(weights["eyes"], observation)
            weights["choice"] = dict(network.choice(self.spec).init(choice_key, seen))
        return begun(weights, self.config, key)

    def acting(self, state: BcState) -> dict:
        """Weights that an actor needs."""
        return state.served

    def loss(
        self, weights: dict, observation: Observation, action: jax.Array
    ) -> tuple[jax.Array, dict]:
        """() of one observation and the person's action (m,), and its parts."""
        network = self.network
        mean, log_std = map(
            jnp.asarray, network.actor(self.spec).apply(weights["actor"], observation)
        )
        arm = action[self._arm]
        loss = regression_loss(mean, log_std, arm)
        info = {"square_error": jnp.mean((jnp.tanh(mean) - arm) ** 2), "std": jnp.exp(log_std)}
        if len(self._grippers):
            seen = network.eyes.apply(weights["eyes"], observation)
            values = jnp.asarray(network.choice(self.spec).apply(weights["choice"], seen))
            choice = gripper.chosen(action[self._grippers])
            info["gripper_loss"] = -jax.nn.log_softmax(values)[choice]
            loss = loss + info["gripper_loss"]
        return loss, info

    def step(self, state: BcState, batches: Batch) -> tuple[BcState, dict]:
        """One learner step on batches (1, B, ...). Returns the state and scalars to log."""
        batch = jax.tree.map(lambda x: x[0], batches)

        def loss_of(weights):
            losses, info = jax.vmap(self.loss, (None, 0, 0))(
                weights, batch.observation, batch.action
            )
            return jnp.mean(losses), {name: jnp.mean(value) for name, value in info.items()}

        (loss, info), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.weights)
        return moved(state, gradient, self.config), {"loss": loss, **info}
