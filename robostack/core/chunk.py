"""Chunked execution: a policy plans H actions ahead, and each tick decides whether the rest of its plan still holds.

Adaptive chunking of SGAC (So et al., arXiv 2510.12392, section 4.2): every tick makes a fresh chunk; while its first
action points where the queue's first one points, the queue goes on, else the fresh chunk replaces it. So a plan is
followed through as long as nothing disturbs it, and dropped in the tick that something does.
Deviations, since one cosine over the whole vector mixes metres, radians and a switch and means nothing near zero:
each group of the action is compared by itself, in units of full action and with a floor; a gripper by its sign. Their
self-guidance is left out: it extrapolates between two denoised samples of a diffusion model, and we serve none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robostack.core.errors import BadValue, UnknownName, require
from robostack.core.spec import Spec

REPLANS = ("adaptive", "open", "closed")
GRIPPER = "gripper"  # terms of an action whose name begins so are compared by sign


@dataclass(frozen=True)
class Execution:
    """How chunks are executed. "open": to their end. "closed": one action of each. "adaptive": while they agree."""

    replan: str = "adaptive"
    most: int = 8  # actions taken of one chunk, at most
    agreement: float = 0.9  # least cosine between what is queued and what is fresh, in every group
    floor: float = 0.1  # of full action; well below it, all directions agree

    def __post_init__(self):
        if self.replan not in REPLANS:
            raise UnknownName("replan", self.replan, REPLANS)
        require(self.most >= 1, "most", self.most, "at least 1 action of a chunk")
        require(-1 <= self.agreement <= 1, "agreement", self.agreement, "a cosine, -1 to 1")
        require(self.floor > 0, "floor", self.floor, "more than 0")


class Planner(Protocol):
    """Gives whole chunks: learned, scripted or cloned."""

    def chunk(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Actions (H, m) in [-1, 1] from this tick on. Without `rng`: deterministic."""
        ...


@dataclass(frozen=True)
class Groups:
    """Entries of an action that mean something together: compared by direction, or, switches, by sign."""

    directions: tuple[tuple[int, ...], ...]
    switches: tuple[int, ...] = ()


def groups_of(spec: Spec) -> Groups:
    """Translation and rotation of every tool, apart, and the grippers."""
    directions, switches, start = [], [], 0
    for term in spec.action:
        places = tuple(range(start, start + term.size))
        start += term.size
        if term.name.startswith(GRIPPER):
            switches += places
        elif term.size == 6:  # a twist: linear part first
            directions += [places[:3], places[3:]]
        else:
            directions.append(places)
    return Groups(tuple(directions), tuple(switches))


def agree(queued: np.ndarray, fresh: np.ndarray, groups: Groups, execution: Execution) -> bool:
    """Whether two actions (m,) are one intention: every group's cosine is high enough, every switch the same."""
    for group in groups.directions:
        a, b = queued[list(group)], fresh[list(group)]
        # Both get one more entry, the floor: two small actions agree whatever their directions, a large one and none
        # do not, and between large ones this is the cosine.
        square = execution.floor**2
        size = np.sqrt((a @ a + square) * (b @ b + square))
        if a @ b + square < execution.agreement * size:
            return False
    return all((queued[i] > 0) == (fresh[i] > 0) for i in groups.switches)


class Executor:
    """Owns the queue of one episode. `begin` empties it; each `act` takes one action from its front."""

    def __init__(self, planner: Planner, groups: Groups, execution: Execution | None = None):
        self._planner, self._groups = planner, groups
        self._execution = execution or Execution()
        self.begin()

    def begin(self) -> None:
        """A new episode: nothing is planned."""
        self._queue = np.zeros((0, 0))
        self.plans = 0  # chunks that came to act in this episode

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """Action (m,). Raises BadValue when the planner gives no chunk. "open" plans only when the queue is empty."""
        is_needed = not len(self._queue)
        if is_needed or self._execution.replan != "open":
            fresh = np.asarray(self._planner.chunk(observation, rng, pictures), float)
            if fresh.ndim != 2 or not len(fresh):
                raise BadValue(
                    f"a chunk has shape {fresh.shape}, expected (H, m) with H at least 1"
                )
            is_kept = not is_needed and self._execution.replan == "adaptive"
            if not (is_kept and agree(self._queue[0], fresh[0], self._groups, self._execution)):
                self._queue = fresh[: self._execution.most]
                self.plans += 1
        action, self._queue = self._queue[0], self._queue[1:]
        return action
