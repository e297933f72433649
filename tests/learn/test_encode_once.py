"""Pictures go through the frozen trunk once; what is trained on is the same as if they went through every time."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.spec import View
from robostack.learn import images, trunks
from robostack.learn.acting import network_of
from robostack.learn.learner import Learner
from robostack.learn.memory import DeviceReplay, sample
from robostack.learn.nets import NUMBERS
from robostack.store.replay import Replay
from tests.learn.conftest import PLAIN, SMALL, make_episode

SPEC = replace(PLAIN, views=(View("wrist", 128, 128),))
CONFIG = replace(SMALL, trunk="mirror", crops=3)


@pytest.fixture(scope="module")
def episodes():
    kinds = ("demonstration", "practice", "practice")
    made = [make_episode(SPEC, index, kind, 5) for index, kind in enumerate(kinds)]

    # Smooth, as what cameras see is: blocks of 16 px.
    def smooth(pictures):
        return np.kron(pictures[:, :8, :8], np.ones((1, 16, 16, 1), np.uint8))

    return [replace(e, pictures={"wrist": smooth(e.pictures["wrist"])}) for e in made]


def filled(episodes, folder=None, crops=CONFIG.crops):
    replay = Replay(SPEC, 200)
    device = DeviceReplay(replay, network_of(SPEC, CONFIG), crops, folder=folder)
    for episode in episodes:
        replay.add(episode)
    device.sync()
    return device


def features(device):
    return np.asarray(device.memory.images["wrist"].view(jnp.bfloat16), np.float32)


def test_the_first_crop_is_what_the_actor_sees_and_the_others_are_shifted(episodes):
    kept = features(filled(episodes))
    trunk = trunks.load("mirror")
    seen = np.asarray(trunk.features(trunk.weights, episodes[1].pictures["wrist"]))
    rows = kept[:6]  # practice lies at the bottom
    scale = np.abs(seen).max()
    assert np.abs(rows[:, 0] - seen).max() < 0.01 * scale  # bfloat16 has eight bits
    assert np.abs(rows[:, 1] - seen).max() > 0.02 * scale
    assert not np.array_equal(rows[:, 1], rows[:, 2])


def test_cached_features_have_the_distribution_of_fresh_ones(episodes):
    """Mean and spread over 24 kept crops of a picture, against 96 fresh shifts of it: within what chance explains."""
    kept = features(filled(episodes[1:2], crops=25))[2, 1:]
    trunk = trunks.load("mirror")
    picture = jnp.broadcast_to(episodes[1].pictures["wrist"][2], (96, 128, 128, 3))
    fresh = trunk.features(
        trunk.weights, images.shift(picture, jax.random.split(jax.random.key(9), 96))
    )
    kept, fresh = kept.reshape(24, -1), np.asarray(fresh).reshape(96, -1)
    spread = fresh.std(0) + 1e-2 * fresh.std()
    z = (kept.mean(0) - fresh.mean(0)) / (spread * np.sqrt(1 / 24 + 1 / 96))
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert 0.7 < np.median((kept.std(0) + 1e-9) / (fresh.std(0) + 1e-9)) < 1.3


def test_the_update_touches_no_trunk_and_moves_every_eye(episodes):
    learner = Learner(SPEC, CONFIG, 0, 200)
    learner.add(episodes)
    before = jax.tree.map(np.asarray, trunks.load("mirror").weights)
    start = jax.tree.map(np.array, (learner.state.actor, learner.state.critic["eyes"]))
    learner.train(3)
    after = (learner.state.actor, learner.state.critic["eyes"])
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(before), jax.tree.leaves(trunks.load("mirror").weights), strict=True
        )
    )
    for old, new in zip(jax.tree.leaves(start), jax.tree.leaves(after), strict=True):
        assert not np.array_equal(old, new)


def test_features_kept_on_the_disk_fill_a_memory_with_the_same_bits(
    episodes, tmp_path, monkeypatch
):
    first = filled(episodes, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3

    def looked(*_):
        raise AssertionError("a picture went through the trunk again")

    monkeypatch.setattr("robostack.learn.memory._features", looked)
    second = filled(episodes, tmp_path)
    a, b = (each.memory.images["wrist"] for each in (first, second))
    assert np.array_equal(a, b)
    assert np.asarray(a).any()


def test_each_draw_takes_one_crop_of_the_right_frame(episodes):
    device = filled(episodes)
    batch = sample(device.memory, jax.random.key(0), 2, 16)
    index, step = np.asarray(batch.observation[NUMBERS][..., :2], int).reshape(-1, 2).T
    kept = np.asarray(device.memory.images["wrist"])
    first = {0: 194, 1: 0, 2: 6}  # where the episodes lie
    drawn = np.asarray(batch.observation["wrist"].view(jnp.uint16)).reshape(32, *kept.shape[2:])
    for at in range(32):
        row = kept[first[index[at]] + step[at]]
        assert any(np.array_equal(drawn[at], crop) for crop in row)
