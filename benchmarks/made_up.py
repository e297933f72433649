"""Episodes of made-up numbers, of a task's shape: the learner's speed does not depend on what they mean."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from robostack.core import lie, observe
from robostack.core.spec import Spec
from robostack.core.types import Episode, EpisodeHeader, Sample, Step, Who
from robostack.store.episode import EpisodeWriter

CAMERAS = {"wrist_camera": (128, 128), "front_camera": (128, 128)}
_POOL = 64  # different pictures; what they show costs nothing, so they come again


def episodes(spec: Spec, count: int, length: int = 100, demonstrations: int = 20) -> list[Episode]:
    """The first `demonstrations` of them are a person's."""
    rng = np.random.default_rng(0)
    return [_episode(spec, i, length, i < demonstrations, rng) for i in range(count)]


def recorded(spec: Spec, count: int, **choices) -> list[Episode]:
    """Such episodes, said to have been seen by two cameras."""
    sizes = {name: list(size) for name, size in CAMERAS.items()}
    made = episodes(spec, count, **choices)
    return [replace(each, header=replace(each.header, cameras=sizes)) for each in made]


def pictures() -> np.ndarray:
    """(_POOL, H, W, 3) uint8."""
    shape = (_POOL, *CAMERAS["wrist_camera"], 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def record(folder: Path, spec: Spec, count: int, **choices) -> Iterator[list[float]]:
    """Writes such episodes, a file each; s that each step took, per episode."""
    pool, writer = pictures(), EpisodeWriter(folder, spec)
    for episode in recorded(spec, count, **choices):
        index = episode.header.index
        writer.begin(episode.header, episode.observations[0], samples(pool, index, 0))
        seconds = []
        for i, step in enumerate(episode.steps):
            seen = samples(pool, index, i + 1)
            start = time.perf_counter()
            writer.append(step, episode.observations[i + 1], seen)
            seconds.append(time.perf_counter() - start)
        writer.end()
        yield seconds


def samples(pool: np.ndarray, index: int, frame: int) -> dict[str, Sample]:
    """All that a cell with two cameras gives."""
    stamp = 0.1 * frame
    found = {}
    for name, signal in observe.SIGNALS.items():
        value = lie.IDENTITY if signal.size == 7 else np.zeros(signal.size)
        found[name] = Sample(stamp, value)
    for number, name in enumerate(CAMERAS):
        found[name] = Sample(stamp, pool[(101 * index + 7 * frame + number) % _POOL])
    return found


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
