"""Soft actor-critic from prior data: RLPD (Ball et al., arXiv 2302.02948) as HIL-SERL runs it (arXiv 2410.21845).

One learner step is `critic_updates` critic updates and one update of actor and temperature, in one jitted call.
Deviations from RLPD, on purpose: no entropy in the backup; targets are clipped to what a return can be, since a
single reward of 1 ends the episode; a small term keeps the actor near what the person did (`imitation`), without
which the first thousands of steps are spent on forgetting the demonstrations; what acts is a moving average of the
actor, since the newest weights now and then fail where those before and after succeed.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robostack.core.errors import require
from robostack.core.spec import Spec
from robostack.learn.nets import Actor, Critic, sample_action


@dataclass(frozen=True)
class Config:
    """Choices of the learner; hashable, so that a jitted call is compiled once per choice."""

    widths: tuple[int, ...] = (256, 256)
    critics: int = 2
    target_critics: int = 2  # how many of them, drawn anew each update, make the target
    batch: int = 256  # rows per update, half of them the person's
    critic_updates: int = 2  # per learner step
    discount: float = 0.97
    rate: float = 3e-4  # Adam, all networks
    target_rate: float = 0.005  # of the moving average that makes the target critics
    served_rate: float = 0.005  # of the moving average of the actor that acts
    temperature: float = 0.01  # where it starts
    target_entropy: float = -0.5  # per action dimension
    entropy_backup: bool = False
    return_bounds: tuple[float, float] = (0.0, 1.0)
    imitation: float = 0.1  # weight of the squared distance to the person's actions

    def __post_init__(self):
        def needs(is_met: bool, name: str, expected: str) -> None:
            require(is_met, f"learner.{name}", getattr(self, name), expected)

        widths_fit = all(type(width) is int and width >= 1 for width in self.widths)
        needs(
            len(self.widths) >= 1 and widths_fit,
            "widths",
            "whole numbers from 1, such as [256,256]",
        )
        needs(self.critics >= 1, "critics", "at least 1")
        needs(
            1 <= self.target_critics <= self.critics,
            "target_critics",
            f"1 to critics = {self.critics}",
        )
        is_even = self.batch >= 2 and self.batch % 2 == 0
        needs(is_even, "batch", "an even number: half of it is the person's")
        needs(self.critic_updates >= 1, "critic_updates", "at least 1")
        needs(0 < self.discount < 1, "discount", "between 0 and 1")
        needs(self.rate > 0, "rate", "more than 0")
        for name in ("target_rate", "served_rate"):
            needs(0 < getattr(self, name) <= 1, name, "more than 0, at most 1")
        needs(self.temperature > 0, "temperature", "more than 0")
        is_ordered = len(self.return_bounds) == 2 and self.return_bounds[0] < self.return_bounds[1]
        needs(is_ordered, "return_bounds", "the lower and then the higher one")
        needs(self.imitation >= 0, "imitation", "at least 0")


class Batch(NamedTuple):
    """Transitions (B, ...), float32; the first half of the rows are the person's."""

    observation: jax.Array  # (B, n)
    action: jax.Array  # (B, m)
    reward: jax.Array  # (B,)
    mask: jax.Array  # (B,) 0 where the task terminated
    next_observation: jax.Array  # (B, n)


class LearnerState(NamedTuple):
    """Everything the learner needs to go on."""

    actor: dict
    served: dict  # moving average of the actor: what acts
    critic: dict  # leaves (critics, ...)
    target: dict
    log_temperature: jax.Array
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    temperature_optimizer: optax.OptState
    key: jax.Array
    steps: jax.Array  # learner steps so far


@dataclass(frozen=True)
class Sac:
    """The choices, and what follows from them: init, update and act are pure.

    Equal choices are equal objects, so they share what is compiled.
    """

    spec: Spec
    config: Config = Config()

    @property
    def _actor(self) -> Actor:
        return Actor(self.spec.action_size, self.config.widths)

    @property
    def _critic(self) -> Critic:
        return Critic(self.config.widths)

    @property
    def _adam(self) -> optax.GradientTransformation:
        return optax.adam(self.config.rate)

    def init(self, key: jax.Array) -> LearnerState:
        """A fresh state."""
        key, actor_key, critic_key = jax.random.split(key, 3)
        observation = jnp.zeros(self.spec.observation_size)
        action = jnp.zeros(self.spec.action_size)
        actor = dict(self._actor.init(actor_key, observation))
        # One key each: members share neither weights nor start.
        keys = jax.random.split(critic_key, self.config.critics)
        critic = dict(jax.vmap(lambda k: self._critic.init(k, observation, action))(keys))
        log_temperature = jnp.log(jnp.asarray(self.config.temperature, jnp.float32))
        return LearnerState(
            actor=actor,
            served=jax.tree.map(jnp.copy, actor),
            critic=critic,
            target=jax.tree.map(jnp.copy, critic),
            log_temperature=log_temperature,
            actor_optimizer=self._adam.init(actor),
            critic_optimizer=self._adam.init(critic),
            temperature_optimizer=self._adam.init(log_temperature),
            key=key,
            steps=jnp.zeros((), jnp.int32),
        )

    def distribution(
        self, actor: dict, observation: jax.Array | np.ndarray
    ) -> tuple[jax.Array, jax.Array]:
        """Mean and log standard deviation (..., m) of the action before the tanh."""
        mean, log_std = self._actor.apply(actor, observation)
        return jnp.asarray(mean), jnp.asarray(log_std)

    def act(
        self, actor: dict, observation: jax.Array | np.ndarray, key: jax.Array | None
    ) -> jax.Array:
        """Action (m,) in [-1, 1] for one observation (n,); without a key the mean."""
        mean, log_std = self.distribution(actor, observation)
        return jnp.tanh(mean) if key is None else sample_action(mean, log_std, key)[0]

    def values(
        self, critic: dict, observation: jax.Array | np.ndarray, action: jax.Array | np.ndarray
    ) -> jax.Array:
        """(critics, B) values of a batch."""
        one = jax.vmap(self._critic.apply, (None, 0, 0))
        return jnp.asarray(jax.vmap(one, (0, None, None))(critic, observation, action))

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def update(self, state: LearnerState, batches: Batch) -> tuple[LearnerState, dict]:
        """One learner step on batches (critic_updates, B, ...). Returns the state and scalars to log."""
        return self.step(state, batches)

    def step(self, state: LearnerState, batches: Batch) -> tuple[LearnerState, dict]:
        """`update`, not jitted, for use inside a larger call."""
        key, scan_key, actor_key = jax.random.split(state.key, 3)
        keys = jax.random.split(scan_key, self.config.critic_updates)
        state, info = jax.lax.scan(self._update_critic, state._replace(key=key), (batches, keys))
        last = jax.tree.map(lambda x: x[-1], batches)
        state, actor_info = self._update_actor(state, last, actor_key)
        info = {name: jnp.mean(value) for name, value in info.items()} | actor_info
        return state._replace(steps=state.steps + 1), info

    def target_value(self, state: LearnerState, batch: Batch, key: jax.Array) -> jax.Array:
        """(B,) r + discount * mask * min over a random subset of target critics. HIL-SERL eq. 2."""
        config = self.config
        act_key, subset_key = jax.random.split(key)
        mean, log_std = self.distribution(state.actor, batch.next_observation)
        action, log_prob = sample_action(mean, log_std, act_key)
        subset = state.target
        if config.target_critics < config.critics:
            drawn = jax.random.choice(
                subset_key, config.critics, (config.target_critics,), replace=False
            )
            subset = jax.tree.map(lambda leaf: leaf[drawn], state.target)
        value = jnp.min(self.values(subset, batch.next_observation, action), 0)
        if config.entropy_backup:
            value = value - jnp.exp(state.log_temperature) * log_prob
        target = batch.reward + config.discount * batch.mask * value
        return target if config.entropy_backup else jnp.clip(target, *config.return_bounds)

    def _update_critic(self, state: LearnerState, inputs: tuple[Batch, jax.Array]):
        batch, key = inputs
        target = jax.lax.stop_gradient(self.target_value(state, batch, key))

        def loss_of(critic):
            values = self.values(critic, batch.observation, batch.action)
            # Sum over members: each learns as if it were alone.
            return jnp.sum(jnp.mean((values - target[None]) ** 2, -1)), values

        (loss, values), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.critic)
        updates, optimizer = self._adam.update(gradient, state.critic_optimizer)
        critic = optax.apply_updates(state.critic, updates)
        target_params = optax.incremental_update(critic, state.target, self.config.target_rate)
        state = state._replace(critic=critic, target=target_params, critic_optimizer=optimizer)
        info = {"critic_loss": loss, "value": jnp.mean(values), "value_max": jnp.max(values)}
        return state, info

    def _update_actor(self, state: LearnerState, batch: Batch, key: jax.Array):
        temperature = jnp.exp(state.log_temperature)
        half = self.config.batch // 2

        def loss_of(actor):
            mean, log_std = self.distribution(actor, batch.observation)
            action, log_prob = sample_action(mean, log_std, key)
            value = jnp.mean(self.values(state.critic, batch.observation, action), 0)
            loss = jnp.mean(temperature * log_prob - value)
            if self.config.imitation:
                near = jnp.mean((jnp.tanh(mean[:half]) - batch.action[:half]) ** 2)
                loss = loss + self.config.imitation * near
            return loss, -jnp.mean(log_prob)

        (loss, entropy), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.actor)
        updates, actor_optimizer = self._adam.update(gradient, state.actor_optimizer)
        actor = optax.apply_updates(state.actor, updates)
        # Temperature: gradient of log(temperature) * (entropy - wanted), Haarnoja eq. 18 in log space.
        wanted = self.config.target_entropy * self.spec.action_size
        slope = entropy - wanted
        updates, temperature_optimizer = self._adam.update(slope, state.temperature_optimizer)
        state = state._replace(
            actor=actor,
            served=optax.incremental_update(actor, state.served, self.config.served_rate),
            actor_optimizer=actor_optimizer,
            log_temperature=optax.apply_updates(state.log_temperature, updates),
            temperature_optimizer=temperature_optimizer,
        )
        return state, {"actor_loss": loss, "entropy": entropy, "temperature": temperature}
