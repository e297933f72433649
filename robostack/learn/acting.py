"""From an observation to an action: one pure function, the same in the learner and in the actor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robostack.core.errors import RobostackError
from robostack.core.spec import Spec, View
from robostack.learn import gripper, trunks
from robostack.learn.config import NO_TRUNK, Config
from robostack.learn.nets import NUMBERS, Actor, Choice, Eyes, Observation, sample_action
from robostack.learn.trunks import Trunk

GAUSSIAN = "gaussian"


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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "widths": list(self.widths)}

    @staticmethod
    def from_dict(data: Mapping[str, Any], what: str) -> "Network":
        """Raises RobostackError, said of `what`, for what this robostack does not know."""
        try:
            found = Network(**{**data, "widths": tuple(data["widths"])})
        except (TypeError, KeyError) as error:
            raise RobostackError(f"{what} describes a network that is not known: {error}") from None
        if found.kind != GAUSSIAN:
            raise RobostackError(f'{what} holds a policy of kind "{found.kind}", not {GAUSSIAN}')
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

    def act(
        self, spec: Spec, weights: dict, observation: Observation, key: jax.Array | None
    ) -> jax.Array:
        """Action (m,) in [-1, 1] for one observation; without a key the mean and the best choice."""
        mean, log_std = map(jnp.asarray, self.actor(spec).apply(weights["actor"], observation))
        arm = jnp.tanh(mean) if key is None else sample_action(mean, log_std, key)[0]
        action = jnp.zeros(spec.action_size).at[np.array(arm_places(spec))].set(arm)
        if not (places := gripper_places(spec)):
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
        return action.at[np.array(places)].set(entries[best])

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


def gripper_places(spec: Spec) -> tuple[int, ...]:
    """Entries of the action that open and close grippers."""
    return spec.action_places("gripper")


def arm_places(spec: Spec) -> tuple[int, ...]:
    """All other entries."""
    return tuple(i for i in range(spec.action_size) if i not in gripper_places(spec))
