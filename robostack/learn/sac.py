"""Soft actor-critic from prior data: RLPD (Ball et al., arXiv 2302.02948) as HIL-SERL runs it (arXiv 2410.21845).

One learner step is `critic_updates` critic updates and one update of actor and temperature, in one jitted call.
Deviations from RLPD, on purpose. No entropy is in the backup. Targets are clipped to what a return can be, since a
single reward of 1 ends the episode. A small term keeps the actor near what the person did (`imitation`), without
which the first thousands of steps are spent on forgetting the demonstrations. Returns are summed over `n_step` steps
(Sutton and Barto, section 7.1), uncorrected for who acted in them, so that a value with nothing under it fades so
many times faster. What acts is a moving average of the actor, since the newest weights now and then fail where those
before and after succeed. The arm's critic sees the grippers' entries too, in targets and for the actor those of the
choice that is worth most: without them it judges the arm by whatever the grippers did in the memory, half of which a
person did, and values grow too high.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robostack.core.mask import boxed
from robostack.core.spec import Spec
from robostack.learn import acting, anchor, gripper
from robostack.learn.acting import Network
from robostack.learn.anchor import Pull
from robostack.learn.config import Config
from robostack.learn.nets import Critic, Observation, sample_action


class Batch(NamedTuple):
    """Transitions (B, ...); the first half of the rows are the person's."""

    observation: Observation  # of leaves (B, ...)
    action: jax.Array  # (B, m)
    reward: jax.Array  # (B,) of the steps up to the next observation, discounted
    mask: (
        jax.Array
    )  # (B,) 0 where nothing that follows counts, else what one step's discount leaves to multiply
    switches: jax.Array  # (B,) grippers that were switched in these steps, discounted
    next_observation: Observation
    guide: jax.Array | None = (
        None  # (B, m) what a mask's guide would have done; only in runs with one
    )
    next_guide: jax.Array | None = None


class LearnerState(NamedTuple):
    """Everything the learner needs to go on."""

    actor: dict
    served: dict  # moving average of what acts: "actor", and with grippers the critic's "eyes" and "choice"
    critic: dict  # "eyes"; "members" of leaves (critics, ...); "choice" where there are grippers
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
    config: Config = Config()  # noqa: RUF009 - frozen

    person_only = False  # rows of a batch: half of them are practice
    horizon = 0  # no chunks: the one action that was taken

    @property
    def updates(self) -> int:
        """Batches that a step takes."""
        return self.config.critic_updates

    @cached_property
    def network(self) -> Network:
        """What its weights are of."""
        return acting.network_of(self.spec, self.config)

    @cached_property
    def _arm(self) -> np.ndarray:
        return acting.arm_places(self.spec)

    @cached_property
    def _grippers(self) -> np.ndarray:
        return acting.gripper_places(self.spec)

    @property
    def _critic(self) -> Critic:
        return Critic(self.config.widths)

    @property
    def _adam(self) -> optax.GradientTransformation:
        return optax.adam(self.config.rate)

    def init(self, key: jax.Array) -> LearnerState:
        """A fresh state."""
        key, actor_key, critic_key = jax.random.split(key, 3)
        observation = self.network.blank(self.spec)
        actor = dict(self.network.actor(self.spec).init(actor_key, observation))
        # One key each: members share neither weights nor start; what they share is the eyes.
        keys = jax.random.split(critic_key, self.config.critics)
        eyes_key, choice_key = jax.random.split(jax.random.fold_in(critic_key, 1))
        eyes = dict(self.network.eyes.init(eyes_key, observation))
        seen = self.network.eyes.apply(eyes, observation)
        action = jnp.zeros(self.spec.action_size)
        members = dict(jax.vmap(lambda k: self._critic.init(k, seen, action))(keys))
        critic = {"eyes": eyes, "members": members}
        if len(self._grippers):
            critic["choice"] = dict(self.network.choice(self.spec).init(choice_key, seen))
        log_temperature = jnp.log(jnp.asarray(self.config.temperature, jnp.float32))
        return LearnerState(
            actor=actor,
            served=jax.tree.map(jnp.copy, self._acting(actor, critic)),
            critic=critic,
            target=jax.tree.map(jnp.copy, critic),
            log_temperature=log_temperature,
            actor_optimizer=self._adam.init(actor),
            critic_optimizer=self._adam.init(critic),
            temperature_optimizer=self._adam.init(log_temperature),
            key=key,
            steps=jnp.zeros((), jnp.int32),
        )

    def started(self, state: LearnerState, acting: dict) -> LearnerState:
        """A state that acts with these weights, such as another run's; what judges them stays as it is.

        The eyes and the grippers' values that act are the critic's too, so they come along.
        """
        shared = {name: acting[name] for name in acting if name != "actor"}
        fresh = jax.tree.map(jnp.copy, (acting["actor"], acting, shared, shared))
        actor, served, critic, target = fresh
        return state._replace(
            actor=actor,
            served=served,
            critic={**state.critic, **critic},
            target={**state.target, **target},
            actor_optimizer=self._adam.init(actor),
        )

    def acting(self, state: LearnerState) -> dict:
        """Weights that an actor needs."""
        return state.served

    def _acting(self, actor: dict, critic: dict) -> dict:
        if not len(self._grippers):
            return {"actor": actor}
        return {"actor": actor, "eyes": critic["eyes"], "choice": critic["choice"]}

    def distribution(self, actor: dict, observation: Observation) -> tuple[jax.Array, jax.Array]:
        """Mean and log standard deviation (B, arm) of the arm's action before the tanh."""
        mean, log_std = jax.vmap(self.network.actor(self.spec).apply, (None, 0))(actor, observation)
        return jnp.asarray(mean), jnp.asarray(log_std)

    def _masked(
        self, arm: jax.Array, guide: jax.Array | None, width: jax.Array | None
    ) -> jax.Array:
        """(B, arm) actions that outputs stand for, in a box of this half-width around the guide's; core.mask."""
        if width is None:
            return arm
        assert guide is not None, "a mask without guides in the memory"
        return boxed(arm, guide[:, self._arm], width)

    def see(self, critic: dict, observation: Observation) -> jax.Array:
        """(B, d) what a critic's eyes make of a batch."""
        return jnp.asarray(
            jax.vmap(self.network.eyes.apply, (None, 0))(critic["eyes"], observation)
        )

    def values(self, critic: dict, seen: jax.Array, action: jax.Array) -> jax.Array:
        """(critics, B) values of what was seen (B, d) and of actions (B, m), grippers' entries and all."""
        one = jax.vmap(self._critic.apply, (None, 0, 0))
        return jnp.asarray(jax.vmap(one, (0, None, None))(critic["members"], seen, action))

    def choices(self, critic: dict, seen: jax.Array) -> jax.Array:
        """(B, choices) values of the grippers' choices."""
        one = self.network.choice(self.spec).apply
        return jnp.asarray(jax.vmap(one, (None, 0))(critic["choice"], seen))

    def whole(self, critic: dict, seen: jax.Array, arm: jax.Array) -> jax.Array:
        """(B, m) actions of which the arm's part is given (B, arm), with the choice that is worth most."""
        if not len(self._grippers):
            return arm
        action = jnp.zeros((len(arm), self.spec.action_size)).at[:, self._arm].set(arm)
        best = jnp.argmax(self.choices(critic, seen), -1)
        entries = jnp.asarray(gripper.entries(len(self._grippers)))
        return action.at[:, self._grippers].set(entries[best])

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def update(self, state: LearnerState, batches: Batch) -> tuple[LearnerState, dict]:
        """One learner step on batches (critic_updates, B, ...). Returns the state and scalars to log."""
        return self.step(state, batches)

    def step(
        self,
        state: LearnerState,
        batches: Batch,
        pull: Pull | None = None,
        width: jax.Array | None = None,
    ) -> tuple[LearnerState, dict]:
        """`update`, not jitted, for use inside a larger call.

        The actor may be pulled towards another one, and its outputs may stand for actions in a mask of half-width ().
        """
        state, info, actor_key = self._update_critics(state, batches, width)
        last = jax.tree.map(lambda x: x[-1], batches)
        state, actor_info = self._update_actor(state, last, actor_key, pull, width)
        info = {name: jnp.mean(value) for name, value in info.items()} | actor_info
        return state._replace(steps=state.steps + 1), info

    def critic_step(self, state: LearnerState, batches: Batch) -> tuple[LearnerState, dict]:
        """A learner step that leaves actor and temperature, and what acts, bit-equal."""
        state, info, _ = self._update_critics(state, batches)
        info = {name: jnp.mean(value) for name, value in info.items()}
        return state._replace(steps=state.steps + 1), info

    def _update_critics(
        self, state: LearnerState, batches: Batch, width: jax.Array | None = None
    ) -> tuple[LearnerState, dict, jax.Array]:
        """Every critic update of a learner step, and the key for the actor's."""
        key, scan_key, actor_key = jax.random.split(state.key, 3)
        keys = jax.random.split(scan_key, self.config.critic_updates)
        update = partial(self._update_critic, width=width)
        state, info = jax.lax.scan(update, state._replace(key=key), (batches, keys))
        return state, info, actor_key

    def target_value(
        self, state: LearnerState, batch: Batch, key: jax.Array, width: jax.Array | None = None
    ) -> jax.Array:
        """(B,) r + discount * mask * min over a random subset of target critics. HIL-SERL eq. 2."""
        config = self.config
        act_key, subset_key = jax.random.split(key)
        mean, log_std = self.distribution(state.actor, batch.next_observation)
        arm, log_prob = sample_action(mean, log_std, act_key)
        arm = self._masked(arm, batch.next_guide, width)
        subset = state.target
        if config.target_critics < config.critics:
            drawn = jax.random.choice(
                subset_key, config.critics, (config.target_critics,), replace=False
            )
            members = jax.tree.map(lambda leaf: leaf[drawn], state.target["members"])
            subset = {**state.target, "members": members}
        seen = self.see(state.target, batch.next_observation)
        chosen = self.see(state.critic, batch.next_observation)
        action = self.whole(state.critic, chosen, arm)
        value = jnp.min(self.values(subset, seen, action), 0)
        if config.entropy_backup:
            value = value - jnp.exp(state.log_temperature) * log_prob
        target = batch.reward + config.discount * batch.mask * value
        return target if config.entropy_backup else jnp.clip(target, *config.return_bounds)

    def td_error(
        self, state: LearnerState, batch: Batch, key: jax.Array, width: jax.Array | None = None
    ) -> jax.Array:
        """(B,) squared distance of the critics' values to their target, mean over the critics. Moves nothing."""
        target = self.target_value(state, batch, key, width)
        seen = self.see(state.critic, batch.observation)
        values = self.values(state.critic, seen, batch.action)
        return jnp.mean((values - target[None]) ** 2, 0)

    def choice_target(self, state: LearnerState, batch: Batch) -> jax.Array:
        """(B,) what the grippers' choice was worth, the penalty for switching in it."""
        config = self.config
        online = self.choices(state.critic, self.see(state.critic, batch.next_observation))
        averaged = self.choices(state.target, self.see(state.target, batch.next_observation))
        reward = batch.reward - config.gripper_penalty * batch.switches
        every = jax.vmap(partial(gripper.target, discount=config.discount))
        target = every(reward, batch.mask, online, averaged)
        lower, upper = config.return_bounds
        most_penalty = len(self._grippers) * config.gripper_penalty / (1.0 - config.discount)
        return jnp.clip(target, lower - most_penalty, upper)

    def _update_critic(
        self,
        state: LearnerState,
        inputs: tuple[Batch, jax.Array],
        width: jax.Array | None = None,
    ):
        batch, key = inputs
        target = jax.lax.stop_gradient(self.target_value(state, batch, key, width))
        has_grippers = len(self._grippers) > 0
        worth = jax.lax.stop_gradient(self.choice_target(state, batch)) if has_grippers else None

        def loss_of(critic):
            seen = self.see(critic, batch.observation)
            values = self.values(critic, seen, batch.action)
            # Sum over members: each learns as if it were alone.
            loss = jnp.sum(jnp.mean((values - target[None]) ** 2, -1))
            if worth is not None:
                loss = loss + self._choice_loss(self.choices(critic, seen), batch, worth)
            return loss, values

        (loss, values), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.critic)
        updates, optimizer = self._adam.update(gradient, state.critic_optimizer)
        critic = optax.apply_updates(state.critic, updates)
        target_params = optax.incremental_update(critic, state.target, self.config.target_rate)
        state = state._replace(critic=critic, target=target_params, critic_optimizer=optimizer)
        info = {"critic_loss": loss, "value": jnp.mean(values), "value_max": jnp.max(values)}
        return state, info

    def _choice_loss(self, values: jax.Array, batch: Batch, worth: jax.Array) -> jax.Array:
        """() squared error of the choices made (B, choices), and the margin of the person's."""
        made = jax.vmap(gripper.chosen)(batch.action[:, self._grippers])
        error = jax.vmap(lambda each, at: each[at])(values, made) - worth
        half = self.config.batch // 2
        margin = partial(gripper.margin_loss, margin=self.config.gripper_margin)
        near = jax.vmap(margin)(values[:half], made[:half])
        return jnp.mean(error**2) + self.config.imitation * jnp.mean(near)

    def _update_actor(
        self,
        state: LearnerState,
        batch: Batch,
        key: jax.Array,
        pull: Pull | None = None,
        width: jax.Array | None = None,
    ):
        temperature = jnp.exp(state.log_temperature)
        half = self.config.batch // 2
        seen = self.see(state.critic, batch.observation)

        def loss_of(actor):
            mean, log_std = self.distribution(actor, batch.observation)
            # The entropy is of the outputs, whatever the box: what is wanted of it need not know the width.
            arm, log_prob = sample_action(mean, log_std, key)
            arm = self._masked(arm, batch.guide, width)
            action = self.whole(state.critic, seen, arm)
            value = jnp.mean(self.values(state.critic, seen, action), 0)
            loss = jnp.mean(temperature * log_prob - value)
            if self.config.imitation:
                shown = batch.action[:half, self._arm]
                tried = self._masked(jnp.tanh(mean), batch.guide, width)[:half]
                near = jnp.mean((tried - shown) ** 2)
                loss = loss + self.config.imitation * near
            if pull is not None:
                mean_0, _ = self.distribution(pull.actor, batch.observation)
                loss = loss + pull.weight * anchor.distance(mean, mean_0)
            return loss, -jnp.mean(log_prob)

        (loss, entropy), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.actor)
        updates, actor_optimizer = self._adam.update(gradient, state.actor_optimizer)
        actor: Any = optax.apply_updates(state.actor, updates)
        # Temperature: gradient of log(temperature) * (entropy - wanted), Haarnoja eq. 18 in log space.
        wanted = self.config.target_entropy * len(self._arm)
        slope = entropy - wanted
        updates, temperature_optimizer = self._adam.update(slope, state.temperature_optimizer)
        state = state._replace(
            actor=actor,
            served=optax.incremental_update(
                self._acting(actor, state.critic), state.served, self.config.served_rate
            ),
            actor_optimizer=actor_optimizer,
            log_temperature=optax.apply_updates(state.log_temperature, updates),
            temperature_optimizer=temperature_optimizer,
        )
        return state, {"actor_loss": loss, "entropy": entropy, "temperature": temperature}
