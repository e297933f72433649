"""A small spec and episodes that fit it."""

from collections.abc import Callable

import numpy as np
import pytest

from robostack.core.spec import Spec, Term
from robostack.core.types import Episode, EpisodeHeader, Step, Who

SPEC = Spec(
    observation=(
        Term("tool_pose", 2, "m", "base", (0.5, 0.25)),
        Term("gripper", 1, "0 closed .. 1 open", "", (1.0,)),
    ),
    action=(Term("tool_step", 2, "m", "tool", (0.1, 0.1)),),
    period=0.1,
)


@pytest.fixture(scope="session")
def spec() -> Spec:
    return SPEC


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    return _make_episode


def _make_episode(
    index: int = 0,
    length: int = 3,
    kind: str = "practice",
    people: tuple[int, ...] = (),
    ends: str = "truncated",  # or "terminated", or "" for cut short
    is_guided: bool = False,
) -> Episode:
    """An episode of `length` steps with numbers drawn from its index; a person acts at the steps `people`."""
    rng = np.random.default_rng(index)
    observations = rng.normal(size=(length + 1, 3)).astype(np.float32)
    steps = tuple(
        Step(
            observation=observations[i],
            action_policy=rng.uniform(-1, 1, 2),
            action=rng.uniform(-1, 1, 2),
            who=Who.PERSON if i in people else Who.POLICY,
            reward=float(i == length - 1 and ends == "terminated"),
            terminated=i == length - 1 and ends == "terminated",
            truncated=i == length - 1 and ends == "truncated",
            parameters=7,
            stamp=100.0 + 0.1 * i,
            age=0.01,
            lateness=0.002,
            guard="limited: speed" if i == 1 else "",
            guide=rng.uniform(-1, 1, 2) if is_guided else None,
        )
        for i in range(length)
    )
    header = EpisodeHeader(
        index, kind, "arm", "reach", "mock", index, SPEC.digest, "0.1", {"start": [0.1, 2.0]}, "now"
    )
    return Episode(header, observations, steps)
