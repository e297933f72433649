"""Episodes with pictures to send out and in, and what makes two of them the same."""

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from robostack.core.types import Episode
from robostack.store.episode import EpisodeWriter, Recording, episode_paths
from robostack.store.exchange import lerobot_import

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
SIZES = {"wrist": [12, 16], "side": [7, 5]}  # an even one and an odd one


def with_pictures(episode: Episode, sizes: dict[str, list[int]] = SIZES) -> Episode:
    """The same episode, seen by cameras: a moving edge and some noise."""
    film = {}
    for number, (camera, size) in enumerate(sizes.items()):
        rng = np.random.default_rng([episode.header.index, number])
        count = len(episode.observations)
        film[camera] = rng.integers(0, 40, (count, *size, 3), dtype=np.uint8)
        for frame in range(count):
            film[camera][frame, :, : frame % (size[1] + 1), number] += 200
    header = replace(episode.header, cameras=sizes)
    return replace(episode, header=header, pictures=film)


def record(folder: Path, spec: Any, *episodes: Episode, is_complete: bool = True) -> list[Path]:
    for episode in episodes:
        lerobot_import.write(EpisodeWriter(folder, spec), episode, is_complete)
    return episode_paths(folder)


def assert_same(got: Recording, expected: Recording, film_error: float = 0.0) -> None:
    assert got.spec == expected.spec
    assert got.is_complete == expected.is_complete
    ours, theirs = got.episode, expected.episode
    assert ours.header == theirs.header
    assert ours.observations.tobytes() == theirs.observations.tobytes()
    assert ours.pictures.keys() == theirs.pictures.keys()
    for camera, film in theirs.pictures.items():
        assert ours.pictures[camera].shape == film.shape
        error = np.abs(ours.pictures[camera].astype(int) - film).mean()
        assert error <= film_error, camera
    assert len(ours.steps) == len(theirs.steps)
    for one, other in zip(ours.steps, theirs.steps, strict=True):
        for a, b in zip(astuple(one), astuple(other), strict=True):
            assert type(a) is type(b)
            np.testing.assert_array_equal(a, b)
