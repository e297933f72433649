"""A2PR, which our IQL is measured against: it moves along dQ/da, and stays near the better of two actions.

Liu et al., arXiv 2405.19909; what their text leaves open is as in their code (github.com/ltlhuuu/A2PR). The loss of
the actor, with A(s, a) = Q_1(s, a) - V(s), an action a of the log, and a^ = VAE(s, pi(s)):

    -lambda Q_1(s, pi(s)) + 1[A(s, a_) >= 0] |pi(s) - a_|^2,  a_ the better of a and a^ by A,  lambda = alpha / mean |Q|

The VAE is taught the actions of the log with A > 0, and the gradient goes through a^. The critics are TD3's. V goes to
the lower of two targets, from the newest critics and from their average.

Deviations, so that the method is all that differs from our IQL: its networks (their VAE is thrice as wide as the
others), its batches of `n_step` steps, its observations as the Spec scales them, its bounds of a return, and
what acts is an average of the actor. All parts but the actor move at once, not one after another. No cameras and no
grippers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from robostack.core.spec import Spec
from robostack.learn import acting
from robostack.learn.acting import Network
from robostack.learn.bc import averaged
from robostack.learn.config import Config
from robostack.learn.nets import NUMBERS, Critic, Mlp
from robostack.learn.sac import Batch

NOISE, MOST = 0.2, 0.5  # of the target's action: deviation and bound
DELAY = 2  # learner steps for each of the actor


class Vae(nn.Module):
    """Observation (n,) and action (m,), through a latent (2 m,), to an action like those of the log."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, seen: jax.Array, action: jax.Array, key: jax.Array):
        """The action (m,) for one draw, and mean and log standard deviation (2 m,) of the latent."""
        x = Mlp(self.widths)(jnp.concatenate([seen, action], -1))
        mean, log_std = jnp.split(nn.Dense(4 * len(action))(x), 2)
        log_std = jnp.clip(log_std, -4.0, 15.0)
        latent = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        x = Mlp(self.widths)(jnp.concatenate([seen, latent], -1))
        return jnp.tanh(nn.Dense(len(action))(x)), mean, log_std


class A2prState(NamedTuple):
    """Everything the learner needs to go on."""

    weights: dict  # "actor"
    served: dict  # moving average of the weights: what acts
    judges: dict  # "members" of leaves (critics, ...); "value"; "vae"
    target: dict  # moving averages: "actor", "members"
    optimizer: optax.OptState
    judges_optimizer: optax.OptState
    alpha: jax.Array  # () weight of the value; here, so that one program serves every choice
    key: jax.Array
    steps: jax.Array  # learner steps so far


def distance(action: jax.Array, two: jax.Array, advantages: jax.Array) -> jax.Array:
    """() squared, of an action (m,) from the better of two (2, m) by advantages (2,); 0 where both are worse than V."""
    return (jnp.max(advantages) >= 0) * jnp.mean((action - two[jnp.argmax(advantages)]) ** 2)


def vae_loss(
    made: jax.Array, action: jax.Array, mean: jax.Array, log_std: jax.Array, advantage: jax.Array
) -> jax.Array:
    """() of one row: error of an action that was better than V, and half the divergence from a unit Gaussian."""
    divergence = -0.5 * jnp.mean(1.0 + 2.0 * log_std - mean**2 - jnp.exp(2.0 * log_std))
    return (advantage > 0) * jnp.mean((made - action) ** 2) + 0.5 * divergence


@dataclass(frozen=True)
class A2pr:
    """The choices, and what follows from them; pure. One learner step updates all, the actor every second time."""

    spec: Spec
    config: Config

    person_only = False  # rows of a batch
    horizon = 0
    updates = 1

    @cached_property
    def network(self) -> Network:
        return acting.network_of(self.spec, self.config)

    @property
    def _net(self) -> Critic:
        return Critic(self.config.widths)

    @property
    def _vae(self) -> Vae:
        return Vae(self.config.widths)

    @property
    def _adam(self) -> optax.GradientTransformation:
        return optax.adam(self.config.rate)

    def init(self, key: jax.Array) -> A2prState:
        """A fresh state."""
        key, actor_key, member_key, value_key, vae_key = jax.random.split(key, 5)
        observation, action = self.network.blank(self.spec), jnp.zeros(self.spec.action_size)
        seen = observation[NUMBERS]
        weights = {"actor": dict(self.network.actor(self.spec).init(actor_key, observation))}
        keys = jax.random.split(member_key, self.config.critics)
        members = dict(jax.vmap(lambda k: self._net.init(k, seen, action))(keys))
        judges = {
            "members": members,
            "value": dict(self._net.init(value_key, seen, jnp.zeros(0))),
            "vae": dict(self._vae.init(vae_key, seen, action, key)),
        }
        return A2prState(
            weights=weights,
            served=jax.tree.map(jnp.copy, weights),
            judges=judges,
            target=jax.tree.map(jnp.copy, {**weights, "members": members}),
            optimizer=self._adam.init(weights),
            judges_optimizer=self._adam.init(judges),
            alpha=jnp.asarray(2.5),
            key=key,
            steps=jnp.zeros((), jnp.int32),
        )

    def acting(self, state: A2prState) -> dict:
        """Weights that an actor needs."""
        return state.served

    def action(self, weights: dict, seen: jax.Array) -> jax.Array:
        """(m,) what the actor does."""
        return self.network.act(self.spec, weights, {NUMBERS: seen}, None)

    def values(self, members: dict, seen: jax.Array, action: jax.Array) -> jax.Array:
        """(critics,) what an action (m,) is worth; the first is Q_1."""
        return jnp.asarray(jax.vmap(self._net.apply, (0, None, None))(members, seen, action))

    def value(self, judges: dict, seen: jax.Array) -> jax.Array:
        """() V of one observation."""
        return jnp.asarray(self._net.apply(judges["value"], seen, jnp.zeros(0)))

    def judges_loss(self, judges: dict, target: dict, row: Batch, key: jax.Array) -> jax.Array:
        """() of one row: the critics', V's and the VAE's; each moves its own part."""
        config, stop = self.config, jax.lax.stop_gradient
        seen, then = row.observation[NUMBERS], row.next_observation[NUMBERS]
        noise_key, vae_key = jax.random.split(key)
        noise = jnp.clip(NOISE * jax.random.normal(noise_key, row.action.shape), -MOST, MOST)
        action = jnp.clip(self.action(target, then) + noise, -1.0, 1.0)

        def returned(members: dict) -> jax.Array:
            after = jnp.min(self.values(members, then, action))
            total = row.reward + config.discount * row.mask * after
            return stop(jnp.clip(total, *config.return_bounds))

        to_meet = returned(target["members"])
        values, value = self.values(judges["members"], seen, row.action), self.value(judges, seen)
        lower = jnp.minimum(to_meet, returned(judges["members"]))
        made = self._vae.apply(judges["vae"], seen, row.action, vae_key)
        return (
            jnp.sum((values - to_meet) ** 2)
            + (value - lower) ** 2
            + vae_loss(made[0], row.action, made[1], made[2], stop(values[0] - value))  # pyright: ignore
        )

    def actor_loss(
        self, weights: dict, judges: dict, alpha: jax.Array, batch: Batch, key: jax.Array
    ) -> jax.Array:
        """() of a batch."""

        def one(seen: jax.Array, logged: jax.Array, key: jax.Array):
            action, value = self.action(weights, seen), self.value(judges, seen)
            alike: Any = self._vae.apply(judges["vae"], seen, action, key)[0]
            two = jnp.stack([alike, logged])
            worth, *of_two = (
                self.values(judges["members"], seen, each)[0] for each in (action, *two)
            )
            return worth, distance(action, two, jnp.stack(of_two) - value)

        keys = jax.random.split(key, len(batch.action))
        worth, far = jax.vmap(one)(batch.observation[NUMBERS], batch.action, keys)
        weight = alpha / jax.lax.stop_gradient(jnp.mean(jnp.abs(worth)))
        return jnp.mean(far) - weight * jnp.mean(worth)

    def step(self, state: A2prState, batches: Batch) -> tuple[A2prState, dict]:
        """One learner step on batches (1, B, ...). Returns the state and scalars to log."""
        batch = jax.tree.map(lambda x: x[0], batches)
        key, judges_key, actor_key = jax.random.split(state.key, 3)
        keys = jax.random.split(judges_key, len(batch.action))

        def judges_loss(judges):
            losses = jax.vmap(self.judges_loss, (None, None, 0, 0))
            return jnp.mean(losses(judges, state.target, batch, keys))

        loss, gradient = jax.value_and_grad(judges_loss)(state.judges)
        updates, judges_optimizer = self._adam.update(gradient, state.judges_optimizer)
        judges: Any = optax.apply_updates(state.judges, updates)
        state = state._replace(
            judges=judges, judges_optimizer=judges_optimizer, key=key, steps=state.steps + 1
        )

        def moved(state: A2prState) -> A2prState:
            loss = partial(self.actor_loss, judges=state.judges, alpha=state.alpha)
            slope = jax.grad(loss)(state.weights, batch=batch, key=actor_key)
            updates, optimizer = self._adam.update(slope, state.optimizer)
            weights: Any = optax.apply_updates(state.weights, updates)
            newest = {"actor": weights["actor"], "members": state.judges["members"]}
            rate = self.config.target_rate
            return state._replace(
                weights=weights,
                served=averaged(state.served, weights, state.steps, self.config.served_rate),
                target=optax.incremental_update(newest, state.target, rate),
                optimizer=optimizer,
            )

        state = jax.lax.cond(state.steps % DELAY == 0, moved, lambda state: state, state)
        return state, {"loss": loss}
