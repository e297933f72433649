"""From an observation to an action: one pure function, the same in the learner and in the actor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robostack.core.chunk import Execution
from robostack.core.errors import RobostackError, UnknownName
from robostack.core.spec import Spec, View
from robostack.learn import euler, gripper, trunks
from robostack.learn.config import NO_TRUNK, Config, Flow
from robostack.learn.nets import NUMBERS, Actor, Choice, Eyes, Observation, sample_action
from robostack.learn.trunks import Trunk

GAUSSIAN, FLOW = "gaussian", "flow"
KINDS = (GAUSSIAN, FLOW)


@dataclass(frozen=True)
class Network:
    """What weights are of; hashable. It stands in a parameter file beside them."""

    widths: tuple[int, ...]
    embeddings: int = 8  # per channel of a feature map
    eye_width: int = 64
    trunk: str = ""  # frozen image network; "": a small one, trained with the rest
    trunk_sha256: str = ""
    epsilon: float = 0.0  # share of random choices of the grippers while exploring
    kind: str = GAUSSIAN
    explores: bool = True  # with a key; else it acts its mean always
    flow: Flow | None = None  # of kind "flow"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "widths": list(self.widths)}

    @staticmethod
    def from_dict(data: Mapping[str, Any], what: str) -> "Network":
        """Raises RobostackError, said of `what`, for what this robostack does not know."""
        if (kind := data.get("kind", GAUSSIAN)) not in KINDS:
            raise UnknownName("kind of policy", str(kind), KINDS, what)
        try:
            flow = data.get("flow")
            if flow is not None:
                flow = Flow(**{**flow, "execution": Execution(**flow["execution"])})
            found = Network(**{**data, "widths": tuple(data["widths"]), "flow": flow})
        except (TypeError, KeyError) as error:
            raise RobostackError(f"{what} describes a network that is not known: {error}") from None
        if (found.kind == FLOW) != (found.flow is not None):
            raise RobostackError(f'{what} is of kind "{kind}" with flow {found.flow}')
        return found

    @cached_property
    def sight(self) -> Trunk | None:
        """The frozen trunk, None without one. Raises RobostackError where it is missing or another than it was."""
        return trunks.load(self.trunk, self.trunk_sha256) if self.trunk else None

    @property
    def eyes(self) -> Eyes:
        return Eyes(self.embeddings, self.eye_width)

    def actor(self, spec: Spec) -> Actor:
        """For the arm's part of the action."""
        return Actor(len(arm_places(spec)), self.widths, self.eyes)

    def choice(self, spec: Spec) -> Choice:
        """For the grippers' part."""
        return Choice(self.widths, gripper.count(len(gripper_places(spec))))

    def velocity(self, spec: Spec) -> euler.Velocity:
        """Of a flow of chunks."""
        assert self.flow is not None
        return euler.Velocity(self.flow.horizon * spec.action_size, self.widths)

    def act(
        self, spec: Spec, weights: dict, observation: Observation, key: jax.Array | None
    ) -> jax.Array:
        """Action (m,) in [-1, 1] for one observation; without a key the mean and the best choice.

        A flow gives a chunk of them, (H, m).
        """
        if self.flow is not None:
            return self.plan(spec, weights, observation, key)[0]
        key = key if self.explores else None
        mean, log_std = map(jnp.asarray, self.actor(spec).apply(weights["actor"], observation))
        arm = jnp.tanh(mean) if key is None else sample_action(mean, log_std, key)[0]
        action = jnp.zeros(spec.action_size).at[arm_places(spec)].set(arm)
        if not len(places := gripper_places(spec)):
            return action
        # Eyes without cameras have no weights, and what is empty is not stored.
        seen = self.eyes.apply(weights.get("eyes", {}), observation)
        values = jnp.asarray(self.choice(spec).apply(weights["choice"], seen))
        best = jnp.argmax(values)
        if key is not None and self.epsilon:
            coin, draw = jax.random.split(jax.random.fold_in(key, 1))
            other = jax.random.randint(draw, (), 0, len(values))
            best = jnp.where(jax.random.uniform(coin) < self.epsilon, other, best)
        entries = jnp.asarray(gripper.entries(len(places)))
        return action.at[places].set(entries[best])

    def plan(
        self, spec: Spec, weights: dict, observation: Observation, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """A flow's chunk (H, m) for one observation, grippers closed or open, and how many steps () it took.

        Without a key the noise is drawn by the observation's own bits: the same for the same observation, another in
        the next tick. One noise for all would be one side of what the person varied, always: measured on peg_insert,
        12 of 40 succeed so, 33 from zero noise, and 40 like this. That ways do not change in every tick is the
        executor's work.
        """
        assert self.flow is not None
        field, size = self.velocity(spec), self.flow.horizon * spec.action_size
        seen = jnp.asarray(self.eyes.apply(weights.get("eyes", {}), observation))
        noise = jax.random.normal(_key_of(observation) if key is None else key, (size,))

        def at(z: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
            velocity, log_sigma = field.apply(weights["velocity"], seen, z, t)
            return jnp.asarray(velocity), jnp.asarray(log_sigma)

        flat, steps = euler.integrate(at, noise, self.flow.eta, self.flow.steps)
        chunk = jnp.clip(flat.reshape(self.flow.horizon, spec.action_size), -1.0, 1.0)
        places = gripper_places(spec)
        return chunk.at[:, places].set(jnp.where(chunk[:, places] > 0, 1.0, -1.0)), steps

    def see(self, trunk_weights: dict | None, numbers: Any, pictures: Mapping) -> Observation:
        """An observation as the learner has it, from numbers (n,) and pictures (H, W, 3) uint8."""
        if self.sight is None or trunk_weights is None:
            return {NUMBERS: numbers, **pictures}
        features = self.sight.features
        seen = {name: features(trunk_weights, picture) for name, picture in pictures.items()}
        return {NUMBERS: numbers, **seen}

    def kept(self, view: View) -> tuple[tuple[int, ...], Any]:
        """Shape and type of what is kept of one of this camera's pictures."""
        if self.sight is None:
            return (view.height, view.width, 3), jnp.uint8
        return self.sight.shape(view.height, view.width), jnp.bfloat16

    def blank(self, spec: Spec) -> Observation:
        """An observation of zeros, as kept."""
        images = {view.name: jnp.zeros(*self.kept(view)) for view in spec.views}
        return {NUMBERS: jnp.zeros(spec.observation_size), **images}


def _key_of(observation: Observation) -> jax.Array:
    """A key that follows from the numbers of an observation, to the last bit."""
    bits = jax.lax.bitcast_convert_type(observation[NUMBERS].astype(jnp.float32), jnp.uint32)
    odd = 2 * jnp.arange(len(bits), dtype=jnp.uint32) + 1
    return jax.random.fold_in(jax.random.key(0), jnp.sum(bits * odd))


def network_of(spec: Spec, config: Config) -> Network:
    """The network that these choices make. Raises RobostackError where its trunk is missing."""
    trunk = "" if config.trunk == NO_TRUNK or not spec.views else config.trunk
    return Network(
        config.widths,
        config.embeddings,
        config.eye_width,
        trunk,
        trunks.load(trunk).sha256 if trunk else "",
        config.gripper_epsilon,
    )


def gripper_places(spec: Spec) -> np.ndarray:
    """Entries of the action that open and close grippers."""
    return np.array(spec.action_places("gripper"), int)


def arm_places(spec: Spec) -> np.ndarray:
    """All other entries."""
    return np.setdiff1d(np.arange(spec.action_size), gripper_places(spec))
