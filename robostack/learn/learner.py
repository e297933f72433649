"""The learner: episodes in, one jitted call per learner step, versions of the actor's weights out."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from robostack.core.mask import OPEN
from robostack.core.spec import Spec
from robostack.core.types import Episode
from robostack.learn import trees
from robostack.learn.anchor import Pull
from robostack.learn.bc import Bc
from robostack.learn.config import Config
from robostack.learn.flow import FlowBc
from robostack.learn.iql import Iql
from robostack.learn.memory import DeviceReplay, Memory, sample, transitions
from robostack.learn.nets import Observation
from robostack.learn.sac import LearnerState, Sac
from robostack.store.replay import Replay

ROWS = "rows"  # of a batch: the axis of a mesh
LOOKS = 4  # batches of held-out transitions that the error on them is over, the newest ones
T = TypeVar("T")

# Choices, hashable, and pure functions of a state: `init(key) -> state`, `step(state, batches) -> (state, info)`,
# `acting(state) -> weights` of its `network`. `updates`, `person_only` and `horizon` say which batches a step takes.
Algorithm = Sac | Bc | FlowBc | Iql
MAKERS: dict[str, type[Sac] | type[Bc] | type[FlowBc] | type[Iql]] = {
    "sac": Sac,
    "bc": Bc,
    "flow": FlowBc,
    "hg_dagger": Bc,  # the same learner; the person goes on correcting while it learns
    "iql": Iql,  # from a log, without a robot; no run has it as its method
}


@partial(jax.jit, static_argnums=0)
def fresh(algorithm: Algorithm, key: jax.Array) -> Any:
    """The algorithm's first state; compiled, or it would be made op by op."""
    return algorithm.init(key)


@partial(jax.jit, static_argnums=(0, 3, 5), donate_argnums=1)
def learner_step(
    algorithm: Algorithm,
    state: Any,
    memory: Memory,
    mesh: Mesh | None = None,
    pull: Pull | None = None,
    moves_actor: bool = True,
    width: jax.Array | None = None,
) -> tuple[Any, dict]:
    """Draws the batches and makes every update of one learner step, on the device; on a mesh, each its part."""
    key, sample_key = jax.random.split(state.key)
    config = algorithm.config
    batches = sample(
        memory,
        sample_key,
        algorithm.updates,
        config.batch,
        config.pad,
        algorithm.person_only,
        algorithm.horizon,
        config.n_step,
        config.discount,
    )
    if mesh is not None:
        batches = jax.lax.with_sharding_constraint(batches, NamedSharding(mesh, P(None, ROWS)))
    state = state._replace(key=key)
    if not isinstance(algorithm, Sac):
        return algorithm.step(state, batches)
    if not moves_actor:
        return algorithm.critic_step(state, batches)
    return algorithm.step(state, batches, pull, width)


@partial(jax.jit, static_argnums=0)
def held_out_error(
    algorithm: Sac,
    state: LearnerState,
    memory: Memory,
    rows: jax.Array,
    counts: jax.Array,
    width: jax.Array | None = None,
) -> jax.Array:
    """() mean squared TD error of the transitions in rows (batches, B), where counts (batches, B) is 1 and not 0.

    With the same draws at every call, so that what changes is what was learned; batch after batch, so that pictures
    take no more memory than in an update.
    """
    keys = jax.random.split(jax.random.key(0), len(rows))

    def summed(inputs: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        index, counted, key = inputs
        errors = algorithm.td_error(state, transitions(memory, index), key, width)
        return jnp.sum(errors * counted)

    return jnp.sum(jax.lax.map(summed, (rows, counts, keys))) / jnp.sum(counts)


def spread(rows: int) -> Mesh | None:
    """As many of this machine's accelerators as share `rows` evenly; None for one."""
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if rows % n == 0)
    return Mesh(np.array(devices[:count]), (ROWS,)) if count > 1 else None


class Learner:
    """Owns the algorithm's state and the replay memory.

    Where there are several accelerators, each has a copy of both and makes its part of every batch's gradient.
    """

    def __init__(
        self,
        spec: Spec,
        config: Config,
        seed: int,
        capacity_frames: int = 100_000,
        method: str = "sac",
        features: Path | None = None,  # folder where a trunk's features are kept
        is_masked: bool = False,  # whether `width` is to be set
    ):
        # Any: who looks inside knows which method it is.
        self.algorithm: Any = MAKERS[method](spec, config)
        self._mesh = spread(config.batch)
        self.state: Any = self._everywhere(fresh(self.algorithm, jax.random.key(seed)))
        self.replay = Replay(
            spec, capacity_frames, timeouts_end=config.timeouts_end, is_guided=is_masked
        )
        # Half-width of the box that outputs stand for actions in, core.mask; OPEN where there is none.
        self.width = OPEN
        self._device = DeviceReplay(
            self.replay, self.algorithm.network, config.crops, config.pad, seed, features
        )
        self._device.memory = self._everywhere(self._device.memory)
        self.steps = 0  # learner steps so far

    def _everywhere(self, tree: T) -> T:
        return tree if self._mesh is None else jax.device_put(tree, NamedSharding(self._mesh, P()))

    def add(self, episodes: Iterable[Episode], is_held_out: bool = False) -> None:
        """Takes whole episodes in, those of practice only to be looked at where they are held out.

        Raises BadValue for numbers that are not finite.
        """
        for episode in episodes:
            self.replay.add(episode, is_held_out)
        self._device.sync()

    def acting_of(self, arrays: Mapping[str, np.ndarray], what: str) -> dict:
        """Weights that an actor needs from arrays by name. Raises RobostackError, said of `what`, for others."""
        return self._everywhere(trees.from_arrays(arrays, self.acting, what))

    def begin_with(self, acting: dict) -> None:
        """Acts with these weights from now on, such as another run's."""
        self.state = self.algorithm.started(self.state, acting)

    def train(
        self, steps: int, pull: Pull | None = None, moves_actor: bool = True
    ) -> dict[str, float]:
        """Makes so many learner steps and returns the last one's numbers."""
        info: dict = {}
        for _ in range(steps):
            memory, mesh = self._device.memory, self._mesh
            self.state, info = learner_step(
                self.algorithm, self.state, memory, mesh, pull, moves_actor, self._width
            )
        self.steps += steps
        return {name: float(np.asarray(value)) for name, value in info.items()}

    @property
    def _width(self) -> jax.Array | None:
        """For the jitted calls; None where nothing is masked (any more)."""
        return None if self.width >= OPEN else jnp.asarray(self.width, jnp.float32)

    def held_out_error(self) -> float | None:
        """Mean squared TD error of the newest held-out transitions; None while there are none. Only for Sac."""
        size = self.algorithm.config.batch
        found = self.replay.held_out(LOOKS * size)
        if not len(found):
            return None
        # As many rows at every call, so that it is compiled once: some repeated, which do not count.
        rows = np.resize(found, (LOOKS, size))
        counts = (np.arange(LOOKS * size) < len(found)).astype(np.float32).reshape(rows.shape)
        memory = self._device.memory
        found = held_out_error(self.algorithm, self.state, memory, rows, counts, self._width)
        return float(found)

    @property
    def acting(self) -> dict:
        """Weights that an actor needs."""
        return self.algorithm.acting(self.state)

    def mean(self, acting: dict, observation: Observation) -> jax.Array:
        """(B, arm) mean actions of these weights, before the tanh."""
        return self.algorithm.distribution(acting["actor"], observation)[0]

    def newest(self, count: int) -> Observation:
        """The newest `count` observations of practice, fewer of them repeated; leaves (count, ...)."""
        rows = np.resize(self.replay.newest(count), count)
        return self._device.observations(rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the algorithm's state, for a checkpoint."""
        return trees.to_arrays(self.state)

    def restore(self, arrays: Mapping[str, np.ndarray], steps: int, what: str) -> None:
        """Goes on from a state that `arrays` gave after so many steps. Raises RobostackError, said of `what`."""
        self.state = self._everywhere(trees.from_arrays(arrays, self.state, what))
        self.steps = steps

    def refill(self, layout: Mapping[str, Any], read: Callable[[str, int], Episode]) -> None:
        """Puts the episodes of `replay.layout()` back where they lay. Raises RobostackError as Replay.restore."""
        self.replay.restore(layout, read)
        self._device.sync()
