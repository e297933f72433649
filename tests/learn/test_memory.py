"""Batches on the device are whole transitions, half of them the person's."""

import jax
import numpy as np
import pytest

from robostack.learn.memory import DeviceReplay, sample
from robostack.store.replay import Replay
from tests.learn.conftest import make_episode


@pytest.fixture
def filled(spec):
    replay = Replay(spec, 2000)
    for index in range(4):
        replay.add(make_episode(spec, index, "demonstration", 20))
    for index in range(4, 12):
        replay.add(
            make_episode(
                spec, index, "practice", 30, person=range(25, 30), is_success=index % 2 == 0
            )
        )
    device = DeviceReplay(replay)
    device.sync()
    return replay, device


def test_transitions_never_cross_an_episodes_end(filled):
    _, device = filled
    batch = sample(device.memory, jax.random.key(0), 50, 64)
    now, following = np.asarray(batch.observation), np.asarray(batch.next_observation)
    assert np.array_equal(now[..., 0], following[..., 0])  # the same episode
    assert np.array_equal(now[..., 1] + 1, following[..., 1])  # the next step


def test_first_half_is_the_persons_and_the_second_is_practice(filled):
    _, device = filled
    batch = sample(device.memory, jax.random.key(0), 50, 64)
    index, step = np.asarray(batch.observation[..., 0]), np.asarray(batch.observation[..., 1])
    by_person = (index < 4) | (step >= 25)
    assert by_person[:, :32].all()
    assert (index[:, 32:] >= 4).all()
    assert not by_person[:, 32:].all()  # practice is all of practice, not only the person's part


def test_every_row_of_a_label_is_drawn(filled):
    replay, device = filled
    batch = sample(device.memory, jax.random.key(0), 200, 64)
    seen = {tuple(row) for row in np.asarray(batch.observation[:, :32, :2]).reshape(-1, 2)}
    assert len(seen) == len(replay.person)


def test_only_the_tasks_end_masks(filled):
    _, device = filled
    batch = sample(device.memory, jax.random.key(0), 100, 64)
    mask, reward = np.asarray(batch.mask), np.asarray(batch.reward)
    assert np.array_equal(mask == 0.0, reward == 1.0)
    cut = (np.asarray(batch.observation[..., 0]) % 2 == 1) & (
        np.asarray(batch.observation[..., 1]) == 29
    )
    cut &= np.asarray(batch.observation[..., 0]) >= 4
    assert cut.any() and (mask[cut] == 1.0).all()  # the time limit bootstraps


def test_demonstrations_alone_fill_both_halves(spec):
    replay = Replay(spec, 200)
    replay.add(make_episode(spec, 0, "demonstration", 20))
    device = DeviceReplay(replay)
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 2, 8)
    assert (np.asarray(batch.observation[..., 0]) == 0).all() and np.asarray(
        batch.observation[..., 2:]
    ).any()


def test_device_copy_equals_the_replay_memory_after_many_evictions(spec):
    replay = Replay(spec, 300)
    device = DeviceReplay(replay)
    for index in range(40):
        kind = "demonstration" if index < 3 else "practice"
        replay.add(make_episode(spec, index, kind, 5 + index % 17))
        device.sync()
    memory, count = device.memory, device.memory.counts
    assert int(count[0]) == len(replay.person) and int(count[1]) == len(replay.practice)
    for rows in (replay.person, replay.practice):
        assert np.array_equal(np.asarray(memory.frames)[rows], replay.frames[rows])
        assert np.array_equal(np.asarray(memory.frames)[rows + 1], replay.frames[rows + 1])
        assert np.array_equal(np.asarray(memory.action)[rows], replay.action[rows])
        assert np.array_equal(np.asarray(memory.mask)[rows], replay.mask[rows])
