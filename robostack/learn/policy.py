"""A learned policy in the actor: actor weights only, checked against the task, warm before the first tick."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import traverse_util

from robostack.core.chunk import Executor, groups_of
from robostack.core.errors import BadValue, RobostackError
from robostack.core.loop import NO_PICTURES, Pictures
from robostack.core.mask import OPEN
from robostack.core.spec import Spec
from robostack.learn.acting import Network
from robostack.store import params as store


def flatten(tree: dict) -> dict[str, np.ndarray]:
    """Weights by "a/b/c" names, as they are stored."""
    return {
        name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
    }


def unflatten(arrays: dict[str, np.ndarray]) -> dict:
    return traverse_util.unflatten_dict(arrays, sep="/")


def publish(folder: Path, version: int, acting: dict, network: Network, spec: Spec, **meta) -> Path:
    """Writes what an actor needs as a new version for actors to take up."""
    return store.save(
        folder, version, flatten(acting), spec, {**meta, "network": network.as_dict()}
    )


def network_of(parameters: store.Parameters) -> Network:
    """What these weights are of. Raises RobostackError where that is not known here."""
    what = f"version {parameters.version}"
    if (found := parameters.meta.get("network")) is None:
        raise RobostackError(
            f"{what} does not say what network it is of; an older robostack made it"
        )
    return Network.from_dict(found, what)


class Ready(NamedTuple):
    """Weights on the device."""

    version: int
    weights: dict
    width: float  # of the mask that these weights act in, core.mask; OPEN: none


class LearnedPolicy:
    """Owns the weights it acts with, and the rest of its plan where it plans chunks of actions.

    Compiled when made, so no tick waits for the compiler.
    """

    def __init__(self, spec: Spec, parameters: store.Parameters):
        self._spec = spec
        self._network = network = network_of(parameters)
        trunk = network.sight
        self._trunk = trunk.weights if trunk and spec.views else None

        def act(trunk_weights, weights, numbers, pictures, seed):
            seen = network.see(trunk_weights, numbers, pictures)
            key = None if seed is None else jax.random.key(seed)
            return network.act(spec, weights, seen, key)

        self._act = jax.jit(act)
        execution = network.flow.execution if network.flow else None
        self._executor = Executor(self, groups_of(spec), execution) if execution else None
        self.take(self.ready(parameters))
        observation = np.zeros(spec.observation_size, np.float32)
        black = {view.name: np.zeros((view.height, view.width, 3), np.uint8) for view in spec.views}
        self.act(observation, None, black)
        self.act(observation, np.random.default_rng(0), black)
        self.begin()

    def ready(self, parameters: store.Parameters) -> Ready:
        """Weights where `act` needs them; for any thread. Raises RobostackError when they are of another network."""
        if (got := network_of(parameters)) != self._network:
            raise RobostackError(f"parameters are of {got}, the policy runs {self._network}")
        weights = jax.device_put(unflatten(parameters.arrays))
        return Ready(parameters.version, weights, parameters.meta.get("width", OPEN))

    def take(self, ready: Ready) -> None:
        """Swaps the weights, between ticks; waits for nothing."""
        self.version, self._weights, self.width = ready

    def begin(self) -> None:
        """A new episode: what was planned in the last one is forgotten."""
        if self._executor is not None:
            self._executor.begin()

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Pictures = NO_PICTURES,
    ) -> np.ndarray:
        """Action (m,) in [-1, 1]; the mean without `rng`, else a sample. Raises BadValue for a missing picture."""
        if self._executor is not None:
            return self._executor.act(observation, rng, pictures)
        return self._run(observation, rng, pictures)

    def chunk(
        self, observation: np.ndarray, rng: np.random.Generator | None, pictures: Pictures
    ) -> np.ndarray:
        """Actions (H, m) from this tick on, of a policy that plans. Raises as `act`."""
        return self._run(observation, rng, pictures)

    def _run(
        self, observation: np.ndarray, rng: np.random.Generator | None, pictures: Pictures
    ) -> np.ndarray:
        """What the network gives: an action, or a chunk of them."""
        seen = {}
        for view in self._spec.views:
            picture = pictures.get(view.name)
            expected = (view.height, view.width, 3)
            if picture is None or picture.shape != expected or picture.dtype != np.uint8:
                got = "nothing" if picture is None else f"{picture.dtype} {picture.shape}"
                raise BadValue(f"camera {view.name} gives {got}, the policy needs uint8 {expected}")
            seen[view.name] = picture
        seed = None if rng is None else rng.integers(2**31, dtype=np.int32)
        action = self._act(self._trunk, self._weights, observation, seen, seed)
        return np.asarray(action, float)


def load(path: Path, spec: Spec) -> LearnedPolicy:
    """The policy in a parameter file, one that acts alone.

    Raises SpecMismatch with the difference when the task is another, RobostackError for one that needs its mask.
    """
    found = store.load(path, spec)
    require_alone(found, path)
    return LearnedPolicy(spec, found)


def require_alone(parameters: store.Parameters, path: Path) -> None:
    """Raises RobostackError for weights that act only in their mask."""
    if (width := parameters.meta.get("width", OPEN)) < OPEN:
        raise RobostackError(
            f"{path} acts in a mask, at most {width:.2f} of full action from its run's guide; "
            "take a later version of that run: its mask opens"
        )
