"""Where the tool was in base, read back from an episode's samples: the observation has it relative to the start."""

import numpy as np
import pytest

from robostack.core import lie
from robostack.core.errors import RobostackError
from robostack.core.types import Sample
from robostack.store import sensors
from robostack.store.episode import EpisodeWriter, episode_paths, tool_poses


def record(folder, spec, episode, poses) -> None:
    writer = EpisodeWriter(folder, spec)
    samples = [
        {"tool_pose": Sample(0.1 * i, pose)} if poses else {} for i, pose in enumerate(poses)
    ]
    samples += [{}] * (len(episode.observations) - len(samples))
    writer.begin(episode.header, episode.observations[0], samples[0])
    for step, observation, seen in zip(
        episode.steps, episode.observations[1:], samples[1:], strict=True
    ):
        writer.append(step, observation, seen)
    writer.end()


def test_poses_come_back_to_the_last_bit_one_for_each_frame(spec, make_episode, tmp_path):
    rng, episode = np.random.default_rng(0), make_episode(length=4)
    turns = lie.so3_exp(rng.normal(size=(5, 3)))
    poses = [lie.pose(p, q) for p, q in zip(rng.normal(size=(5, 3)), turns, strict=True)]
    record(tmp_path, spec, episode, poses)
    [path] = episode_paths(tmp_path)
    np.testing.assert_array_equal(tool_poses(path), poses)


def test_an_episode_without_samples_says_so(spec, make_episode, tmp_path):
    record(tmp_path, spec, make_episode(length=2), [])
    [path] = episode_paths(tmp_path)
    with pytest.raises(RobostackError, match="holds no /current_pose: it was imported"):
        tool_poses(path)


def test_a_pose_that_is_none_is_a_value_error():
    with pytest.raises(ValueError, match="a pose cannot be read"):
        sensors.pose(b"\0\1\0\0abc")
