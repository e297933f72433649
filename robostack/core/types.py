"""The records that cross rooms: samples in, commands out, steps kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np


class Who(IntEnum):
    """Who chose the action that was sent."""

    POLICY = 0
    PERSON = 1
    GUIDE = 2  # a script or another policy that begins the episode, core.guide


@dataclass(frozen=True)
class Sample:
    """One measurement. `stamp` is seconds on the plant's clock, when it was measured (not when it arrived)."""

    stamp: float
    value: Any  # float64 array, or uint8 (H, W, 3) for a camera


# What a plant gives, by name; see observe.SIGNALS for shapes, units and frames.
Samples = Mapping[str, Sample]


@dataclass(frozen=True)
class Command:
    """Where the tool should go: a reference pose for the impedance controller."""

    stamp: float  # s, plant clock, when it was decided
    reference: np.ndarray  # (7,) T_base_reference: x y z m, qw qx qy qz
    gripper: float = 0.0  # 0 closed .. 1 open


@dataclass(frozen=True)
class Step:
    """One control period, as trained on: what was seen, asked, done, and what came of it."""

    observation: np.ndarray  # (n,) float32, scaled as the spec says, before the action
    action_policy: np.ndarray  # (m,) in [-1, 1], what the policy asked for
    action: np.ndarray  # (m,) in [-1, 1], what was executed after person, limits and guard
    who: Who
    reward: float
    terminated: bool  # the task ended; nothing follows
    truncated: bool  # we stopped looking; the next state still has a value
    parameters: int  # version of the policy's parameters, -1 when there are none
    stamp: float  # s, plant clock, when the command was decided
    age: float  # s, of the oldest sample used
    lateness: float  # s, tick later than planned
    guard: str = ""  # why the guard changed or held the command; empty when it passed
    # (m,) in [-1, 1], what a guide would have done; only in runs with a mask, core.mask
    guide: np.ndarray | None = None


@dataclass(frozen=True)
class EpisodeHeader:
    """What held for a whole episode."""

    index: int
    # "demonstration", "fill" (by the policy a run begins with), "practice", "solo" (deterministic policy alone),
    # "validation", "evaluation"
    kind: str
    robot: str
    task: str
    plant: str
    seed: int
    spec: str  # digest of the observation and action spec
    code: str  # version of robostack
    drawn: dict[str, Any] = field(default_factory=dict)  # what chance set for this episode
    started: str = ""  # wall clock, ISO 8601 UTC
    cameras: dict[str, list[int]] = field(default_factory=dict)  # height, width of each, px
    actor: str = ""  # which of several actors of a run; "" where there is one


@dataclass(frozen=True)
class Episode:
    """A whole episode: `observations` holds every frame once, the last one too, so (T + 1, n) for T steps."""

    header: EpisodeHeader
    observations: np.ndarray  # (T + 1, n) float32
    steps: tuple[Step, ...]
    # By camera, (T + 1, H, W, 3) uint8 RGB: what it saw when the observation was made.
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        return bool(self.steps) and self.steps[-1].terminated and self.steps[-1].reward > 0

    @property
    def person_steps(self) -> int:
        """Steps in which the person acted."""
        return sum(step.who == Who.PERSON for step in self.steps)

    @property
    def guide_steps(self) -> int:
        """Steps in which a guide acted."""
        return sum(step.who == Who.GUIDE for step in self.steps)

    @property
    def person_share(self) -> float:
        return self.person_steps / max(1, len(self.steps))
