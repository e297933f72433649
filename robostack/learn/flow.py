"""Flow matching of chunks of the person's actions, served with AdaFlow's number of steps (arXiv 2402.04292, card B30).

Behaviour cloning for what a person does in more than one way: least squares learns the mean of two ways round an
obstacle, a flow learns both. The equations are in `euler`; how a chunk is executed, in `core.chunk`. Deviations from
AdaFlow: a small network instead of a U-Net; the velocity and its deviation train at once (see `euler.losses`); the
eyes train with the velocity. A chunk that would pass the end of what the person did repeats the last action there.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp

from robostack.core.spec import Spec
from robostack.learn import acting, euler
from robostack.learn.acting import FLOW, Network
from robostack.learn.bc import BcState, begun, moved
from robostack.learn.config import Config
from robostack.learn.nets import Observation
from robostack.learn.sac import Batch


@dataclass(frozen=True)
class FlowBc:
    """The choices, and what follows from them; pure. One learner step is one update."""

    spec: Spec
    config: Config = Config()  # noqa: RUF009 - frozen

    person_only = True  # rows of a batch
    updates = 1  # batches that a step takes

    @property
    def horizon(self) -> int:
        """Actions of a row: the one that was taken and those after it."""
        return self.config.flow.horizon

    @cached_property
    def network(self) -> Network:
        """What its weights are of."""
        plain = acting.network_of(self.spec, self.config)
        return replace(plain, kind=FLOW, flow=self.config.flow, epsilon=0.0)

    def init(self, key: jax.Array) -> BcState:
        """A fresh state."""
        key, eyes_key, velocity_key = jax.random.split(key, 3)
        network, observation = self.network, self.network.blank(self.spec)
        eyes = dict(network.eyes.init(eyes_key, observation))
        seen = network.eyes.apply(eyes, observation)
        z, t = jnp.zeros(self.horizon * self.spec.action_size), jnp.zeros(())
        weights = {
            "eyes": eyes,
            "velocity": dict(network.velocity(self.spec).init(velocity_key, seen, z, t)),
        }
        return begun(weights, self.config, key)

    def acting(self, state: BcState) -> dict:
        """Weights that an actor needs."""
        return state.served

    def loss(
        self, weights: dict, observation: Observation, chunk: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict]:
        """() of one observation and the person's next actions (H, m), and its parts; draws noise and time."""
        noise_key, time_key = jax.random.split(key)
        action = chunk.reshape(-1)
        noise = jax.random.normal(noise_key, action.shape)
        t = jax.random.uniform(time_key)
        z, wanted = euler.between(action, noise, t)
        seen = self.network.eyes.apply(weights["eyes"], observation)
        velocity, log_sigma = self.network.velocity(self.spec).apply(
            weights["velocity"], seen, z, t
        )
        error, spread = euler.losses(wanted, jnp.asarray(velocity), jnp.asarray(log_sigma))
        return error + spread, {"velocity_error": error, "sigma": jnp.exp(jnp.asarray(log_sigma))}

    def step(self, state: BcState, batches: Batch) -> tuple[BcState, dict]:
        """One learner step on batches (1, B, ...) whose actions are chunks. Returns the state and scalars to log."""
        batch = jax.tree.map(lambda x: x[0], batches)
        key, draw = jax.random.split(state.key)
        keys = jax.random.split(draw, len(batch.action))

        def loss_of(weights):
            losses, info = jax.vmap(self.loss, (None, 0, 0, 0))(
                weights, batch.observation, batch.action, keys
            )
            return jnp.mean(losses), {name: jnp.mean(value) for name, value in info.items()}

        (loss, info), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.weights)
        return moved(state, gradient, self.config)._replace(key=key), {"loss": loss, **info}
