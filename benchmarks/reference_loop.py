"""The learner's loop as the reference stack builds it (SERL and HIL-SERL, read in their code), on our networks.

Two buffers on the host, each sampled by numpy and put together for every update; one dispatch per update; every loss
has a forward pass of its own; the gradient of each loss is taken for all parameters, and three Adams each go over all
of them. A critic-only update makes the other losses zero, so their optimizers run all the same. What
differs from ours is only how it is built: sizes, losses and numbers of updates are equal.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robostack.core.spec import Spec
from robostack.core.types import Episode
from robostack.learn.config import Config
from robostack.learn.nets import NUMBERS, Actor, Critic, Eyes, sample_action


class State(NamedTuple):
    params: dict  # "actor", "critic", "temperature"
    target: Any
    optimizers: dict  # an Adam over all of params, for each loss
    key: jax.Array


class Buffer:
    """Transitions on the host, next observations stored too."""

    def __init__(self, episodes: list[Episode]):
        steps = [(e, i) for e in episodes for i in range(len(e.steps))]
        self.data = {
            "observation": np.stack([e.observations[i] for e, i in steps]),
            "action": np.stack([e.steps[i].action for e, i in steps]).astype(np.float32),
            "reward": np.array([e.steps[i].reward for e, i in steps], np.float32),
            "mask": np.array([not e.steps[i].terminated for e, i in steps], np.float32),
            "next_observation": np.stack([e.observations[i + 1] for e, i in steps]),
        }

    def sample(self, rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
        index = rng.integers(len(self.data["reward"]), size=rows)
        return {name: values[index] for name, values in self.data.items()}


class ReferenceLoop:
    """Owns both buffers and the state."""

    def __init__(self, spec: Spec, config: Config, episodes: list[Episode]):
        self._config, self._rng = config, np.random.default_rng(0)
        shown = [e for e in episodes if e.header.kind == "demonstration"]
        self._buffers = [Buffer(shown), Buffer([e for e in episodes if e not in shown])]
        self._actor = Actor(spec.action_size, config.widths, Eyes(1, 1))
        self._critic = Critic(config.widths)
        self._adam = optax.adam(config.rate)
        keys = jax.random.split(jax.random.key(0), 3)
        seen, action = jnp.zeros(spec.observation_size), jnp.zeros(spec.action_size)
        members = jax.vmap(lambda key: self._critic.init(key, seen, action))
        params = {
            "actor": self._actor.init(keys[0], {NUMBERS: seen}),
            "critic": members(jax.random.split(keys[1], config.critics)),
            "temperature": jnp.log(config.temperature),
        }
        optimizers = {name: self._adam.init(params) for name in params}
        self._state = State(params, params["critic"], optimizers, keys[2])
        self._wanted = config.target_entropy * spec.action_size

    def train(self, steps: int) -> float:
        """So many learner steps; the last critic's loss."""
        loss = jnp.zeros(())
        for _ in range(steps):
            for update in range(self._config.critic_updates):
                halves = [b.sample(self._rng, self._config.batch // 2) for b in self._buffers]
                batch = {name: np.concatenate([h[name] for h in halves]) for name in halves[0]}
                is_last = update == self._config.critic_updates - 1
                self._state, loss = self._update(is_last, self._state, jax.device_put(batch))
        return float(loss)

    def _distribution(self, actor, observation):
        return jax.vmap(lambda o: self._actor.apply(actor, {NUMBERS: o}))(observation)

    def _values(self, critic, observation, action):
        one = jax.vmap(self._critic.apply, (None, 0, 0))
        return jax.vmap(one, (0, None, None))(critic, observation, action)

    @partial(jax.jit, static_argnums=(0, 1))
    def _update(self, is_whole: bool, state: State, batch: dict) -> tuple[State, jax.Array]:
        config, half = self._config, self._config.batch // 2
        key, next_key, actor_key, entropy_key = jax.random.split(state.key, 4)

        def critic_loss(params):
            mean, log_std = self._distribution(state.params["actor"], batch["next_observation"])
            action, _ = sample_action(mean, log_std, next_key)
            value = jnp.min(self._values(state.target, batch["next_observation"], action), 0)
            target = batch["reward"] + config.discount * batch["mask"] * value
            target = jnp.clip(target, *config.return_bounds)
            values = self._values(params["critic"], batch["observation"], batch["action"])
            return jnp.sum(jnp.mean((values - target[None]) ** 2, -1))

        def actor_loss(params):
            mean, log_std = self._distribution(params["actor"], batch["observation"])
            action, log_prob = sample_action(mean, log_std, actor_key)
            value = jnp.mean(self._values(state.params["critic"], batch["observation"], action), 0)
            near = jnp.mean((jnp.tanh(mean[:half]) - batch["action"][:half]) ** 2)
            temperature = jnp.exp(state.params["temperature"])
            return jnp.mean(temperature * log_prob - value) + config.imitation * near

        def temperature_loss(params):
            mean, log_std = self._distribution(state.params["actor"], batch["observation"])
            _, log_prob = sample_action(mean, log_std, entropy_key)
            return params["temperature"] * -jnp.mean(log_prob + self._wanted)

        losses = {"critic": critic_loss, "actor": actor_loss, "temperature": temperature_loss}
        params, optimizers, told = state.params, {}, jnp.zeros(())
        for name, loss in losses.items():
            used = loss if is_whole or name == "critic" else lambda params: jnp.zeros(())
            value, gradient = jax.value_and_grad(used)(state.params)
            told = value if name == "critic" else told
            step, optimizers[name] = self._adam.update(gradient, state.optimizers[name])
            params = optax.apply_updates(params, step)
        target = optax.incremental_update(params["critic"], state.target, config.target_rate)
        return State(params, target, optimizers, key), told
