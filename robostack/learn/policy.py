"""A learned policy in the actor: actor weights only, checked against the task, warm before the first tick."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.learn.nets import Actor, sample_action
from robostack.store import params as store


def flatten(tree: dict) -> dict[str, np.ndarray]:
    """Weights by "a/b/c" names, as they are stored."""
    return {
        name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
    }


def unflatten(arrays: dict[str, np.ndarray]) -> dict:
    return traverse_util.unflatten_dict(arrays, sep="/")


def publish(folder: Path, version: int, actor: dict, spec: Spec, **meta) -> Path:
    """Writes the actor's weights as a new version for actors to take up."""
    return store.save(folder, version, flatten(actor), spec, meta)


class Ready(NamedTuple):
    """Weights on the device."""

    version: int
    weights: dict


class LearnedPolicy:
    """Owns the weights it acts with. Compiled when made, so no tick waits for the compiler."""

    def __init__(self, spec: Spec, parameters: store.Parameters):
        self._spec = spec
        self._widths = _widths(parameters.arrays)
        network = Actor(spec.action_size, self._widths)
        self._mean = jax.jit(lambda weights, o: jnp.tanh(network.apply(weights, o)[0]))

        def explore(weights, observation, seed):
            mean, log_std = network.apply(weights, observation)
            key = jax.random.key(seed)
            return sample_action(jnp.asarray(mean), jnp.asarray(log_std), key)[0]

        self._explore = jax.jit(explore)
        self.take(self.ready(parameters))
        observation = np.zeros(spec.observation_size, np.float32)
        self.act(observation, None)
        self.act(observation, np.random.default_rng(0))

    def ready(self, parameters: store.Parameters) -> Ready:
        """Weights where `act` needs them; for any thread. Raises RobostackError when they are of another network."""
        if (got := _widths(parameters.arrays)) != self._widths:
            raise RobostackError(
                f"parameters are of a network {got}, the policy runs {self._widths}"
            )
        return Ready(parameters.version, jax.device_put(unflatten(parameters.arrays)))

    def take(self, ready: Ready) -> None:
        """Swaps the weights, between ticks; waits for nothing."""
        self.version, self._weights = ready

    def act(self, observation: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """Action (m,) in [-1, 1]; the mean without `rng`, else a sample."""
        if rng is None:
            return np.asarray(self._mean(self._weights, observation), float)
        seed = rng.integers(2**31, dtype=np.int32)
        return np.asarray(self._explore(self._weights, observation, seed), float)


def load(path: Path, spec: Spec) -> LearnedPolicy:
    """The policy in a parameter file. Raises SpecMismatch with the difference when the task is another."""
    return LearnedPolicy(spec, store.load(path, spec))


def _widths(arrays: dict[str, np.ndarray]) -> tuple[int, ...]:
    """Widths of the trunk, read off the weights themselves."""
    layers = [name for name in arrays if "Trunk_0/Dense_" in name and name.endswith("kernel")]
    if not layers:
        raise RobostackError(
            f"these parameters hold no actor; names: {', '.join(sorted(arrays)[:4])} …"
        )
    return tuple(arrays[name].shape[1] for name in sorted(layers))
