"""Episodes of made-up numbers, of a task's shape: the learner's speed does not depend on what they mean."""

import numpy as np

from robostack.core.spec import Spec
from robostack.core.types import Episode, EpisodeHeader, Step, Who


def episodes(spec: Spec, count: int, length: int = 100, demonstrations: int = 20) -> list[Episode]:
    """The first `demonstrations` of them are a person's."""
    rng = np.random.default_rng(0)
    return [_episode(spec, i, length, i < demonstrations, rng) for i in range(count)]


def _episode(
    spec: Spec, index: int, length: int, is_demonstration: bool, rng: np.random.Generator
) -> Episode:
    header = EpisodeHeader(
        index=index,
        kind="demonstration" if is_demonstration else "practice",
        robot="fr3",
        task="peg_insert",
        plant="mock",
        seed=index,
        spec=spec.digest,
        code="benchmark",
    )
    observations = rng.normal(size=(length + 1, spec.observation_size)).astype(np.float32)
    steps = []
    for i in range(length):
        action = rng.uniform(-1.0, 1.0, spec.action_size)
        is_last = i + 1 == length
        steps.append(
            Step(
                observation=observations[i],
                action_policy=action,
                action=action,
                who=Who.PERSON if is_demonstration else Who.POLICY,
                reward=float(is_last),
                terminated=is_last,
                truncated=False,
                parameters=-1 if is_demonstration else 0,
                stamp=0.1 * i,
                age=0.0,
                lateness=0.0,
            )
        )
    return Episode(header, observations, tuple(steps))
