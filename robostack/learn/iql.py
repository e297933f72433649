"""Implicit Q-learning (IQL, Kostrikov et al., arXiv 2110.06169): the better part of a log, without a robot.

V learns a high expectile of what the log's own actions were worth, Q bootstraps from V, and the actor imitates the
log, each action by how much better than V it was. No action is judged that is not in the log, so nothing is believed
of what nobody did. Who acted does not matter, an operator's bad day included; half of the rows are the person's where
the log has practice too, as in SAC.

Deviations. The actor is SAC's, its loss that of our clones (learn/bc.py) times the weight, so what is served is a
clone of the better actions and a policy that `train` can begin with. Advantages are counted in steps, A / (1 -
discount): that is what they are in the paper's runs on mazes, with -1 for every step, and `sharpness` is the paper's
beta there. Q and V share eyes, which learn from both losses. Targets are clipped to what a return can be. All three
losses are of the same weights, those before the step.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robostack.core.spec import Spec
from robostack.learn import acting
from robostack.learn.acting import Network
from robostack.learn.bc import Bc, averaged
from robostack.learn.config import Config
from robostack.learn.nets import Critic, Observation
from robostack.learn.sac import Batch


class IqlState(NamedTuple):
    """Everything an offline learner needs to go on."""

    weights: dict  # of the clone: "actor", with grippers "eyes" and "choice"
    served: dict  # moving average of the weights: what acts
    critic: dict  # "eyes"; "members" of leaves (critics, ...); "value"
    target: dict  # moving average of the critic's eyes and members
    optimizer: optax.OptState
    critic_optimizer: optax.OptState
    key: jax.Array
    steps: jax.Array  # learner steps so far


def expectile_loss(error: jax.Array, expectile: float) -> jax.Array:
    """() |tau - 1[u < 0]| u^2 of an error u (); eq. 4. It rests where errors above and below balance so."""
    return jnp.where(error < 0, 1.0 - expectile, expectile) * error**2


def advantage_weight(advantage: jax.Array, sharpness: float, most: float) -> jax.Array:
    """() exp(beta A), at most `most`; eq. 7, the bound as in the authors' code."""
    return jnp.minimum(jnp.exp(sharpness * advantage), most)


@dataclass(frozen=True)
class Iql:
    """The choices, and what follows from them; pure. One learner step is one update of everything."""

    spec: Spec
    config: Config = Config()  # noqa: RUF009 - frozen

    person_only = False  # rows of a batch
    horizon = 0  # no chunks: the one action that was taken
    updates = 1  # batches that a step takes

    @cached_property
    def network(self) -> Network:
        """SAC's, to the last choice: a run may begin with these weights, and explores as they say."""
        return acting.network_of(self.spec, self.config)

    @cached_property
    def _clone(self) -> Bc:
        return Bc(self.spec, self.config)

    @property
    def _net(self) -> Critic:
        return Critic(self.config.widths)

    @property
    def _adam(self) -> optax.GradientTransformation:
        return optax.adam(self.config.rate)

    def init(self, key: jax.Array) -> IqlState:
        """A fresh state."""
        key, clone_key, eyes_key, member_key, value_key = jax.random.split(key, 5)
        weights = self._clone.init(clone_key).weights
        observation = self.network.blank(self.spec)
        eyes = dict(self.network.eyes.init(eyes_key, observation))
        seen = self.network.eyes.apply(eyes, observation)
        action, nothing = jnp.zeros(self.spec.action_size), jnp.zeros(0)
        keys = jax.random.split(member_key, self.config.critics)
        members = dict(jax.vmap(lambda k: self._net.init(k, seen, action))(keys))
        critic = {
            "eyes": eyes,
            "members": members,
            "value": dict(self._net.init(value_key, seen, nothing)),
        }
        return IqlState(
            weights=weights,
            served=jax.tree.map(jnp.copy, weights),
            critic=critic,
            target=jax.tree.map(jnp.copy, {"eyes": eyes, "members": members}),
            optimizer=self._adam.init(weights),
            critic_optimizer=self._adam.init(critic),
            key=key,
            steps=jnp.zeros((), jnp.int32),
        )

    def acting(self, state: IqlState) -> dict:
        """Weights that an actor needs."""
        return state.served

    def values(self, critic: dict, observation: Observation, action: jax.Array) -> jax.Array:
        """(critics,) what the whole action (m,), grippers too, is worth at one observation."""
        seen = self.network.eyes.apply(critic["eyes"], observation)
        one = jax.vmap(self._net.apply, (0, None, None))
        return jnp.asarray(one(critic["members"], seen, action))

    def value(self, critic: dict, observation: Observation) -> jax.Array:
        """() V of one observation."""
        seen = self.network.eyes.apply(critic["eyes"], observation)
        return jnp.asarray(self._net.apply(critic["value"], seen, jnp.zeros(0)))

    def critic_loss(self, critic: dict, target: dict, row: Batch) -> tuple[jax.Array, dict]:
        """() of one row: V's loss (eq. 5) and the sum of the critics' (eq. 6); and the row's numbers."""
        config, stop = self.config, jax.lax.stop_gradient
        value = self.value(critic, row.observation)
        lowest = stop(jnp.min(self.values(target, row.observation, row.action)))
        value_loss = expectile_loss(lowest - value, config.offline.expectile)
        then = row.reward + config.discount * row.mask * self.value(critic, row.next_observation)
        then = stop(jnp.clip(then, *config.return_bounds))
        errors = self.values(critic, row.observation, row.action) - then
        info = {"value_loss": value_loss, "critic_loss": jnp.sum(errors**2), "value": value}
        return value_loss + info["critic_loss"], info | {"advantage": lowest - value}

    def weight(self, advantage: jax.Array) -> jax.Array:
        """() how much an action counts that was so much better () than V."""
        offline = self.config.offline
        return advantage_weight(
            advantage / (1.0 - self.config.discount), offline.sharpness, offline.most
        )

    def actor_loss(
        self, weights: dict, observation: Observation, action: jax.Array, advantage: jax.Array
    ) -> tuple[jax.Array, dict]:
        """() eq. 7 of one row: regression of the arm, cross entropy of the grippers; and its parts."""
        loss, info = self._clone.loss(weights, observation, action)
        return self.weight(advantage) * loss, info

    def step(self, state: IqlState, batches: Batch) -> tuple[IqlState, dict]:
        """One learner step on batches (1, B, ...). Returns the state and scalars to log."""
        batch = jax.tree.map(lambda x: x[0], batches)

        def critic_loss(critic):
            losses, info = jax.vmap(self.critic_loss, (None, None, 0))(critic, state.target, batch)
            return jnp.mean(losses), info

        gradient, info = jax.grad(critic_loss, has_aux=True)(state.critic)
        advantage = info["advantage"]

        def actor_loss(weights):
            every = jax.vmap(self.actor_loss, (None, 0, 0, 0))
            losses, parts = every(weights, batch.observation, batch.action, advantage)
            return jnp.mean(losses), parts

        (loss, parts), slope = jax.value_and_grad(actor_loss, has_aux=True)(state.weights)
        info |= parts | {"weight": jax.vmap(self.weight)(advantage)}
        updates, critic_optimizer = self._adam.update(gradient, state.critic_optimizer)
        critic: Any = optax.apply_updates(state.critic, updates)
        updates, optimizer = self._adam.update(slope, state.optimizer)
        weights: Any = optax.apply_updates(state.weights, updates)
        newest = {name: critic[name] for name in state.target}
        state = state._replace(
            weights=weights,
            served=averaged(state.served, weights, state.steps, self.config.served_rate),
            critic=critic,
            target=optax.incremental_update(newest, state.target, self.config.target_rate),
            optimizer=optimizer,
            critic_optimizer=critic_optimizer,
            steps=state.steps + 1,
        )
        return state, {"actor_loss": loss} | {name: jnp.mean(x) for name, x in info.items()}
