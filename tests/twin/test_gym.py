"""Every task is a Gymnasium environment that Gymnasium's own checks accept."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robostack.core import catalog
from robostack.twin import gym

TASKS = catalog.tasks()


@pytest.mark.parametrize("robot", catalog.robots())
@pytest.mark.parametrize("task", TASKS)
def test_gymnasium_accepts_it(task, robot):
    env = gymnasium.make(gym.identifier(task), robot=robot)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_peg_insert_has_the_promised_name():
    assert gym.identifier("peg_insert") == "robostack/PegInsert-v0"


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_episode(task):
    def play():
        env = gymnasium.make(gym.identifier(task))
        rng, size = np.random.default_rng(3), np.shape(env.action_space.sample())
        seen = [env.reset(seed=11)[0]]
        for _ in range(15):
            seen.append(env.step(rng.uniform(-1, 1, size))[0])
        env.close()
        return np.stack(seen)

    assert np.array_equal(play(), play())


def test_time_limit_truncates_and_does_not_terminate():
    env = gymnasium.make("robostack/Reach-v0")
    env.reset(seed=0)
    for _ in range(catalog.task("reach").steps):
        _, reward, terminated, truncated, _ = env.step(np.zeros(7))
    assert truncated and not terminated and reward == 0.0
    env.close()


def test_picture_shows_the_cell():
    env = gymnasium.make("robostack/PegInsert-v0", render_mode="rgb_array")
    env.reset(seed=0)
    picture = np.asarray(env.render())
    assert picture.shape == (*gym.PICTURE, 3) and picture.dtype == np.uint8
    assert picture.std() > 10  # not one colour
    env.close()
