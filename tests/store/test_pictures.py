"""Samples in episode files: what cameras and sensors gave comes back, for us and for others."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from robostack.core.errors import BadValue, StaleSample
from robostack.core.guard import Guard
from robostack.core.loop import Loop
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Sample
from robostack.store import sensors
from robostack.store.episode import EpisodeWriter, episode_paths, outcome, read_episode, recover

CAMERAS = {"wrist_camera": (12, 16), "front_camera": (8, 8)}


class Cell(MockPlant):
    """A mock cell with eyes: every picture is new, and tells when it was taken."""

    def read(self):
        samples = dict(super().read())
        for number, (name, size) in enumerate(CAMERAS.items()):
            rng = np.random.default_rng([number, round(self.now * 1e3)])
            picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            samples[name] = Sample(self.now, picture)
        return samples


class Wander:
    version = 3

    def act(self, observation, rng, pictures=None):
        del observation, rng, pictures
        return np.full(7, 0.3)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """An episode as the loop gives it back, and its file."""
    from robostack.core import catalog

    task, robot = catalog.task("reach"), catalog.robot("fr3")
    folder = tmp_path_factory.mktemp("episodes")
    plant = GuardedPlant(Cell(task), Guard(robot.safety, task.period))
    writer = EpisodeWriter(folder, Loop(plant, task, robot).spec)
    episode = Loop(plant, task, robot, recorder=writer).run(Wander(), "solo", 0, 1)
    [path] = episode_paths(folder)
    return episode, path


def test_pictures_come_back_as_the_loop_saw_them(recorded):
    episode, path = recorded
    found = read_episode(path)
    assert found.header == episode.header
    assert found.header.cameras == {name: list(size) for name, size in CAMERAS.items()}
    assert found.pictures.keys() == episode.pictures.keys() == CAMERAS.keys()
    for name, pictures in episode.pictures.items():
        assert pictures.shape == (len(episode.steps) + 1, *CAMERAS[name], 3)
        np.testing.assert_array_equal(found.pictures[name], pictures)


def test_pictures_can_be_left_out(recorded):
    episode, path = recorded
    found = read_episode(path, has_pictures=False)
    assert not found.pictures
    assert found.observations.tobytes() == episode.observations.tobytes()


def test_other_readers_see_the_same_pictures(recorded):
    episode, path = recorded
    for name, pictures in episode.pictures.items():
        topic = sensors.topic_of_camera(name)
        with open(path, "rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            images = [image for *_, image in reader.iter_decoded_messages(topics=[topic])]
        assert len(images) == len(pictures)
        for image, picture in zip(images, pictures, strict=True):
            assert image.encoding == "rgb8"
            seen = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
            np.testing.assert_array_equal(seen, picture)


def test_rosbags_reads_every_sample_with_its_time(recorded):
    episode, path = recorded
    with AnyReader([path]) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        poses = [c for c in reader.connections if c.topic == "/current_pose"]
        stamps = []
        for connection, _, raw in reader.messages(poses):
            pose: Any = reader.deserialize(raw, connection.msgtype)
            time = pose.header.stamp
            stamps.append(time.sec + time.nanosec * 1e-9)
    for topic in ("/current_pose", "/external_wrench", "/task/target", "/target_pose"):
        assert counts[topic] == len(episode.steps) + 1
    np.testing.assert_allclose(stamps, 0.1 * np.arange(len(episode.steps) + 1), atol=1e-9)


def test_a_file_cut_anywhere_gives_whole_pairs_of_step_and_picture(recorded, tmp_path):
    episode, path = recorded
    data, copy = path.read_bytes(), tmp_path / path.name
    for length in np.random.default_rng(0).integers(12000, len(data), 200):
        copy.write_bytes(data[:length])
        found = read_episode(copy)
        count = len(found.steps)
        assert len(found.observations) == count + 1
        for name, pictures in episode.pictures.items():
            np.testing.assert_array_equal(found.pictures[name], pictures[: count + 1])


def test_a_flipped_bit_in_a_picture_ends_the_episode_before_it(recorded, tmp_path):
    episode, path = recorded
    data = bytearray(path.read_bytes())
    place = data.find(episode.pictures["wrist_camera"][5].tobytes())
    assert place > 0
    data[place + 100] ^= 4
    (copy := tmp_path / path.name).write_bytes(data)
    found = recover(copy)
    assert not found.is_complete
    assert len(found.episode.steps) == 4


def test_a_camera_that_vanishes_is_refused_and_named(spec, tmp_path, make_episode):
    episode = make_episode()
    header = replace(episode.header, cameras={"eye": [2, 2]})
    eye = {"eye": Sample(0.0, np.zeros((2, 2, 3), np.uint8))}
    writer = EpisodeWriter(tmp_path, spec)
    with pytest.raises(BadValue, match="got pictures of no camera, expected {'eye': "):
        writer.begin(header, episode.observations[0])
    assert episode_paths(tmp_path) == []
    writer.begin(header, episode.observations[0], eye)
    large = {"eye": Sample(0.1, np.zeros((4, 2, 3), np.uint8))}
    for samples in ({}, large):
        with pytest.raises(BadValue, match="step 0: got pictures"):
            writer.append(episode.steps[0], episode.observations[1], samples)
    writer.append(episode.steps[0], episode.observations[1], eye)
    writer.end()
    assert len(read_episode(episode_paths(tmp_path)[0]).steps) == 1


def test_a_camera_that_stops_ends_the_episode_with_its_name_and_age():
    from robostack.core import catalog

    task, robot = catalog.task("reach"), catalog.robot("fr3")

    class Stuck(Cell):
        def read(self):
            samples = super().read()
            old = min(self.now, 0.4)
            return {**samples, "front_camera": Sample(old, samples["front_camera"].value)}

    plant = GuardedPlant(Stuck(task), Guard(robot.safety, task.period))
    with pytest.raises(StaleSample, match='"front_camera" is 300 ms old, limit 200 ms'):
        Loop(plant, task, robot).run(Wander(), "solo", 0, 1)


def test_outcome_is_read_from_the_end_without_the_pictures(recorded):
    episode, path = recorded
    found = outcome(path)
    assert found is not None
    assert found.header == episode.header
    assert found[1:] == (len(episode.steps), episode.is_success, 0, 3)


def test_outcome_of_a_cut_episode_is_none_and_of_a_damaged_one_an_error(recorded, tmp_path):
    _, path = recorded
    data = path.read_bytes()
    (cut := tmp_path / "000001-solo.mcap").write_bytes(data[:-9])
    assert outcome(cut) is None
    place = data.rfind(json.dumps({"steps": 1})[1:8].encode())
    damaged = bytearray(data)
    damaged[place + 2] ^= 1
    (tmp_path / "000002-solo.mcap").write_bytes(damaged)
    from robostack.core.errors import RobostackError

    with pytest.raises(RobostackError, match="its last record is damaged"):
        outcome(tmp_path / "000002-solo.mcap")
