"""Features on the disk are a convenience: they come back exactly, or count as not there."""

from dataclasses import replace

import numpy as np
import pytest

from robostack.core.types import Episode, EpisodeHeader
from robostack.store.features import Features


@pytest.fixture
def episode() -> Episode:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 3), np.uint8)
    header = EpisodeHeader(7, "practice", "r", "t", "mock", 0, "spec", "0")
    return Episode(header, np.zeros((4, 2), np.float32), (), {"eye": pictures})


MADE = {"eye": np.arange(24, dtype=np.uint16).reshape(4, 2, 3)}


def test_they_come_back_bit_equal_in_another_process_or_object(tmp_path, episode):
    Features(tmp_path, "net 1").save(episode, MADE)
    found = Features(tmp_path, "net 1").load(episode)
    assert found is not None and found["eye"].dtype == np.uint16
    assert np.array_equal(found["eye"], MADE["eye"])


def test_those_of_other_pictures_or_made_otherwise_are_not_taken(tmp_path, episode):
    kept = Features(tmp_path, "net 1")
    assert kept.load(episode) is None
    kept.save(episode, MADE)
    changed = episode.pictures["eye"].copy()
    changed[3, 1, 2, 0] += 1
    assert kept.load(replace(episode, pictures={"eye": changed})) is None
    assert Features(tmp_path, "net 2").load(episode) is None
    other = replace(episode.header, actor="left")
    assert kept.load(replace(episode, header=other)) is None


@pytest.mark.parametrize("at", [0, 9, 200, -1])
def test_a_damaged_file_counts_as_not_there(tmp_path, episode, at):
    kept = Features(tmp_path, "net 1")
    kept.save(episode, MADE)
    (path,) = tmp_path.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)
    assert kept.load(episode) is None
    path.write_bytes(data[: len(data) // 2])
    assert kept.load(episode) is None
