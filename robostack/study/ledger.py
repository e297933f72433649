"""A line for each episode of a run: what it was, how it ended, what it cost a person."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robostack.core.types import Episode
from robostack.store.follow import EpisodeFollower


@dataclass(frozen=True)
class Line:
    """One episode, summed up."""

    index: int
    kind: str
    seed: int
    steps: int
    is_success: bool
    person_steps: int
    guide_steps: int
    parameters: int  # version that acted, -1 for none
    held: int  # steps in which the guard held or limited
    lateness_p99: float  # s
    age_p99: float  # s, of the oldest sample used


def line_of(episode: Episode) -> Line:
    steps = episode.steps
    return Line(
        index=episode.header.index,
        kind=episode.header.kind,
        seed=episode.header.seed,
        steps=len(steps),
        is_success=episode.is_success,
        person_steps=episode.person_steps,
        guide_steps=episode.guide_steps,
        parameters=steps[-1].parameters if steps else -1,
        held=sum(bool(step.guard) for step in steps),
        lateness_p99=float(np.percentile([step.lateness for step in steps] or [0.0], 99)),
        age_p99=float(np.percentile([step.age for step in steps] or [0.0], 99)),
    )


def lines(folder: Path) -> list[Line]:
    """Every complete episode of a folder, by index; cut ones are passed over.

    Raises RobostackError for a damaged one.
    """
    return [line_of(episode) for episode in EpisodeFollower(folder, has_pictures=False).each()]
