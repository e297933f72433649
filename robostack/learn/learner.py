"""The learner: episodes in, one jitted call per learner step, versions of the actor's weights out."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from robostack.core.spec import Spec
from robostack.core.types import Episode
from robostack.learn import trees
from robostack.learn.config import Config
from robostack.learn.memory import DeviceReplay, Memory, sample
from robostack.learn.sac import LearnerState, Sac
from robostack.store.replay import Replay


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def learner_step(sac: Sac, state: LearnerState, memory: Memory) -> tuple[LearnerState, dict]:
    """Draws the batches and makes every update of one learner step, on the device."""
    key, sample_key = jax.random.split(state.key)
    config = sac.config
    batches = sample(memory, sample_key, config.critic_updates, config.batch, config.pad)
    return sac.step(state._replace(key=key), batches)


class Learner:
    """Owns the algorithm's state and the replay memory."""

    def __init__(
        self,
        spec: Spec,
        config: Config,
        seed: int,
        capacity_frames: int = 100_000,
        features: Path | None = None,  # folder where a trunk's features are kept
    ):
        self.sac = Sac(spec, config)
        self.state = self.sac.init(jax.random.key(seed))
        self.replay = Replay(spec, capacity_frames)
        self._device = DeviceReplay(
            self.replay, self.sac.network, config.crops, config.pad, seed, features
        )
        self.steps = 0  # learner steps so far

    def add(self, episodes: Iterable[Episode]) -> None:
        """Takes whole episodes in. Raises BadValue for numbers that are not finite."""
        for episode in episodes:
            self.replay.add(episode)
        self._device.sync()

    def train(self, steps: int) -> dict[str, float]:
        """Makes so many learner steps and returns the last one's numbers."""
        info: dict = {}
        for _ in range(steps):
            self.state, info = learner_step(self.sac, self.state, self._device.memory)
        self.steps += steps
        return {name: float(np.asarray(value)) for name, value in info.items()}

    @property
    def acting(self) -> dict:
        """Weights that an actor needs."""
        return self.sac.acting(self.state)

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of the algorithm's state, for a checkpoint."""
        return trees.to_arrays(self.state)

    def restore(self, arrays: Mapping[str, np.ndarray], steps: int, what: str) -> None:
        """Goes on from a state that `arrays` gave after so many steps. Raises RobostackError, said of `what`."""
        self.state = trees.from_arrays(arrays, self.state, what)
        self.steps = steps

    def refill(self, layout: Mapping[str, Any], read: Callable[[str, int], Episode]) -> None:
        """Puts the episodes of `replay.layout()` back where they lay. Raises RobostackError as Replay.restore."""
        self.replay.restore(layout, read)
        self._device.sync()
