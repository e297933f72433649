"""Batches on the device are whole transitions, half of them the person's."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from robostack.core.spec import View
from robostack.learn.acting import network_of
from robostack.learn.memory import DeviceReplay, sample
from robostack.learn.nets import NUMBERS
from robostack.store.replay import Replay
from tests.learn.conftest import SMALL, SPECS, make_episode


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
    device = DeviceReplay(replay, network_of(spec, SMALL))
    device.sync()
    return replay, device


def test_transitions_never_cross_an_episodes_end(filled):
    _, device = filled
    batch = sample(device.memory, jax.random.key(0), 50, 64)
    now, following = (
        np.asarray(batch.observation[NUMBERS]),
        np.asarray(batch.next_observation[NUMBERS]),
    )
    assert np.array_equal(now[..., 0], following[..., 0])  # the same episode
    assert np.array_equal(now[..., 1] + 1, following[..., 1])  # the next step


def test_first_half_is_the_persons_and_the_second_is_practice(filled):
    _, device = filled
    batch = sample(device.memory, jax.random.key(0), 50, 64)
    index, step = (
        np.asarray(batch.observation[NUMBERS][..., 0]),
        np.asarray(batch.observation[NUMBERS][..., 1]),
    )
    by_person = (index < 4) | (step >= 25)
    assert by_person[:, :32].all()
    assert (index[:, 32:] >= 4).all()
    assert not by_person[:, 32:].all()  # practice is all of practice, not only the person's part


def test_every_row_of_a_label_is_drawn(filled):
    replay, device = filled
    batch = sample(device.memory, jax.random.key(0), 200, 64)
    seen = {tuple(row) for row in np.asarray(batch.observation[NUMBERS][:, :32, :2]).reshape(-1, 2)}
    assert len(seen) == len(replay.person)


def test_only_the_tasks_end_masks(filled):
    _, device = filled
    batch = sample(device.memory, jax.random.key(0), 100, 64)
    mask, reward = np.asarray(batch.mask), np.asarray(batch.reward)
    assert np.array_equal(mask == 0.0, reward == 1.0)
    cut = (np.asarray(batch.observation[NUMBERS][..., 0]) % 2 == 1) & (
        np.asarray(batch.observation[NUMBERS][..., 1]) == 29
    )
    cut &= np.asarray(batch.observation[NUMBERS][..., 0]) >= 4
    assert cut.any() and (mask[cut] == 1.0).all()  # the time limit bootstraps


@pytest.mark.parametrize("n_step", [1, 3, 7])
def test_a_row_is_so_many_steps_and_fewer_where_the_episode_ends(spec, n_step):
    replay, discount = Replay(spec, 200), 0.9
    rng = np.random.default_rng(0)
    for index in range(4):
        episode = make_episode(spec, index, "practice", 12, is_success=index % 2 == 0)
        steps = tuple(replace(step, reward=float(rng.normal())) for step in episode.steps)
        replay.add(replace(episode, steps=steps))
    device = DeviceReplay(replay, network_of(spec, SMALL))
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 4, 64, n_step=n_step, discount=discount)
    first = np.asarray(batch.observation[NUMBERS][..., :2]).reshape(-1, 2).astype(int)
    after = np.asarray(batch.next_observation[NUMBERS][..., :2]).reshape(-1, 2).astype(int)
    rows = {tuple(replay.frames[row, :2].astype(int)): row for row in replay.all}
    assert len({tuple(each) for each in first}) > 40  # the last steps of episodes among them
    rewards, masks = np.asarray(batch.reward).ravel(), np.asarray(batch.mask).ravel()
    for (index, step), then, reward, mask in zip(first, after, rewards, masks, strict=True):
        count = min(n_step, 12 - step)
        assert tuple(then) == (index, step + count)
        row = rows[index, step]
        expected = sum(discount**k * replay.reward[row + k] for k in range(count))
        assert reward == pytest.approx(expected, abs=1e-5)
        assert mask == pytest.approx(replay.mask[row + count - 1] * discount ** (count - 1))


def test_steps_that_cannot_be_learned_from_are_in_no_sum(spec):
    replay, episode = Replay(spec, 50), make_episode(spec, 0, "practice", 10)
    episode.observations[5] = np.nan  # seen by step 5, and reached by step 4
    replay.add(episode)
    device = DeviceReplay(replay, network_of(spec, SMALL))
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 4, 64, n_step=3, discount=0.9)
    seen = {
        (int(now), int(then))
        for now, then in zip(
            np.asarray(batch.observation[NUMBERS][..., 1]).ravel(),
            np.asarray(batch.next_observation[NUMBERS][..., 1]).ravel(),
            strict=True,
        )
    }
    assert seen == {(0, 3), (1, 4), (2, 4), (3, 4), (6, 9), (7, 10), (8, 10), (9, 10)}


def test_demonstrations_alone_fill_both_halves(spec):
    replay = Replay(spec, 200)
    replay.add(make_episode(spec, 0, "demonstration", 20))
    device = DeviceReplay(replay, network_of(spec, SMALL))
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 2, 8)
    assert (np.asarray(batch.observation[NUMBERS][..., 0]) == 0).all() and np.asarray(
        batch.observation[NUMBERS][..., 2:]
    ).any()


def test_device_copy_equals_the_replay_memory_after_many_evictions(spec):
    replay = Replay(spec, 300)
    device = DeviceReplay(replay, network_of(spec, SMALL))
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


@pytest.fixture
def seeing():
    """A learner's memory with one demonstration and two practice episodes."""
    spec = SPECS["cameras"]
    replay = Replay(spec, 200)
    device = DeviceReplay(replay, network_of(spec, SMALL))
    episodes = [
        make_episode(spec, 0, "demonstration", 20),
        *(make_episode(spec, index, "practice", 17) for index in (1, 2)),
    ]
    for episode in episodes:
        replay.add(episode)
        device.sync()
    return device, episodes


def test_pictures_in_a_batch_are_those_of_their_frames_and_only_shifted(seeing):
    device, episodes = seeing
    spec = SPECS["cameras"]
    batch = sample(device.memory, jax.random.key(0), 3, 16, pad=0)
    for seen, ahead in ((batch.observation, 0), (batch.next_observation, 1)):
        rows = np.asarray(batch.observation[NUMBERS][..., :2], int).reshape(-1, 2)
        for view in spec.views:
            expected = np.stack([episodes[i].pictures[view.name][t + ahead] for i, t in rows])
            assert np.array_equal(np.asarray(seen[view.name]).reshape(expected.shape), expected)
    shifted = sample(device.memory, jax.random.key(0), 3, 16, pad=4)
    for view in spec.views:
        assert not np.array_equal(shifted.observation[view.name], batch.observation[view.name])


def test_cameras_and_frames_are_shifted_each_on_its_own(spec):
    """The same picture at both cameras and in all frames: only the shift tells them apart."""
    square = replace(spec, views=tuple(View(name, 16, 16) for name in ("front", "wrist")))
    episode = make_episode(square, 0, "demonstration", 20)
    same = np.broadcast_to(episode.pictures["front"][0], (21, 16, 16, 3))
    replay = Replay(square, 200)
    device = DeviceReplay(replay, network_of(square, SMALL))
    replay.add(replace(episode, pictures={"front": same, "wrist": same}))
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 1, 16)
    front, wrist = (np.asarray(batch.observation[name][0]) for name in ("front", "wrist"))
    assert len(np.unique(front.reshape(16, -1), axis=0)) > 8
    assert not np.array_equal(front, wrist)
    assert not np.array_equal(front, np.asarray(batch.next_observation["front"][0]))


def test_a_switched_gripper_is_counted_where_it_was_switched():
    spec = SPECS["gripper"]
    episode = make_episode(spec, 0, "practice", 6)
    opening = [-1.0, -1.0, 1.0, 0.3, -0.2, -1.0]
    steps = [
        replace(step, action=np.array([0.0, at]))
        for step, at in zip(episode.steps, opening, strict=True)
    ]
    replay = Replay(spec, 100)
    replay.add(replace(episode, steps=tuple(steps)))
    assert replay.switches[:6].tolist() == [0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("n_step", [1, 4])
def test_guides_belong_to_what_is_seen_now_and_to_what_is_seen_next(spec, n_step):
    replay = Replay(spec, 100, is_guided=True)
    episode = make_episode(spec, 3, "practice", 9)
    steps = [
        replace(step, guide=np.array([t / 10, -t / 10])) for t, step in enumerate(episode.steps)
    ]
    replay.add(replace(episode, steps=tuple(steps)))
    device = DeviceReplay(replay, network_of(spec, SMALL))
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 2, 64, n_step=n_step)
    now, then = batch.observation[NUMBERS][..., 1], batch.next_observation[NUMBERS][..., 1]
    assert np.asarray(batch.guide)[..., 0] == pytest.approx(np.asarray(now) / 10)
    last = np.minimum(np.asarray(then), 8)  # nobody was asked at the last frame
    assert np.asarray(batch.next_guide)[..., 0] == pytest.approx(last / 10)


def test_a_memory_without_a_mask_carries_no_guides(spec):
    replay = Replay(spec, 100)
    replay.add(make_episode(spec, 3, "practice", 9))
    device = DeviceReplay(replay, network_of(spec, SMALL))
    device.sync()
    batch = sample(device.memory, jax.random.key(0), 1, 8)
    assert batch.guide is None and batch.next_guide is None
