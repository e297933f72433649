"""A batch of cells is the single cell, many times."""

import numpy as np
import pytest

from robostack.core import catalog
from robostack.core.guard import Guard
from robostack.core.loop import Loop
from robostack.core.plant import GuardedPlant
from robostack.twin.batch import BatchTwin
from robostack.twin.plant import TwinPlant

TASKS = catalog.tasks()


class Replayed:
    """A policy that plays given actions."""

    version = -1

    def __init__(self, actions):
        self.actions = iter(actions)

    def act(self, observation, rng, pictures=None):
        del observation, rng, pictures
        return next(self.actions)


@pytest.mark.parametrize("name", TASKS)
def test_batch_of_one_without_noise_is_the_guarded_plant_under_the_loop(name):
    task, robot = catalog.task(name), catalog.robot("fr3")
    batch = BatchTwin(task, robot, count=1, threads=1, seed=4, noise=False)
    first = batch.reset()
    actions = np.random.default_rng(2).uniform(-1, 1, (task.steps, batch.spec.action_size))
    # The plant must draw the setup that the batch drew: the first of its generator.
    plant = GuardedPlant(TwinPlant(task, robot, noise=False), Guard(robot.safety, task.period))
    episode = Loop(plant, task, robot).run(Replayed(actions), "evaluation", 0, 4)
    assert np.allclose(episode.observations[0], first[0], atol=1e-6)
    for step, action, following in zip(
        episode.steps, actions, episode.observations[1:], strict=False
    ):
        moved = batch.step(action[None])
        assert np.allclose(moved.final_observation[0], following, atol=1e-4)
        assert np.allclose(moved.action[0], step.action, atol=1e-5)
        if step.terminated:
            break


@pytest.mark.parametrize("robot", catalog.robots())
@pytest.mark.parametrize("name", TASKS)
def test_ended_cells_start_anew_and_the_others_go_on(name, robot):
    task = catalog.task(name)
    batch = BatchTwin(task, catalog.robot(robot), count=8, seed=0)
    observation = batch.reset()
    still = np.zeros((8, batch.spec.action_size))
    for tick in range(1, task.steps + 1):
        moved = batch.step(still)
        ended = moved.terminated | moved.truncated
        assert np.array_equal(moved.truncated, ~moved.terminated & (tick == task.steps))
        assert np.array_equal(moved.observation[~ended], moved.final_observation[~ended])
    assert moved.truncated.all()
    moved_since_reset = batch.spec.observation_slice("tool_pose")
    assert np.abs(moved.observation[:, moved_since_reset]).max() < 0.1  # at their new starts
    assert observation.shape == moved.observation.shape


def test_same_seed_same_batch():
    def play():
        batch = BatchTwin(
            catalog.task("peg_insert"), catalog.robot("fr3"), count=4, threads=2, seed=9
        )
        rng, seen = np.random.default_rng(0), [batch.reset()]
        for _ in range(25):
            seen.append(batch.step(rng.uniform(-1, 1, (4, 6))).observation)
        return np.stack(seen)

    assert np.array_equal(play(), play())


def test_cells_differ_from_each_other():
    batch = BatchTwin(catalog.task("peg_insert"), catalog.robot("fr3"), count=4, seed=0)
    observation = batch.reset()
    assert len(np.unique(observation.round(4), axis=0)) == 4


def test_cell_that_presses_too_hard_holds():
    task = catalog.task("peg_insert", start_low=0.01, start_high=0.01)
    robot = catalog.robot("fr3")
    batch = BatchTwin(task, robot, count=4, seed=0)
    batch.reset()
    batch._signals["wrench"][1, 2] = -robot.safety.force - 1.0
    moved = batch.step(np.ones((4, 6)))
    assert moved.held.tolist() == [False, True, False, False]
    assert np.abs(moved.action[1]).max() < 1e-9


def test_held_cell_keeps_its_gripper_as_it_was():
    robot = catalog.robot("fr3")
    batch = BatchTwin(catalog.task("reach"), robot, count=2, seed=0)
    batch.reset()
    batch._signals["wrench"][0, 2] = robot.safety.force + 1.0
    moved = batch.step(np.ones((2, 7)))
    assert moved.held.tolist() == [True, False]
    assert moved.action[0, 6] == pytest.approx(-1.0, abs=0.05) and moved.action[1, 6] == 1.0


def test_action_that_is_no_number_holds_its_own_cell_only():
    batch = BatchTwin(catalog.task("reach"), catalog.robot("fr3"), count=2, seed=0)
    batch.reset()
    action = np.zeros((2, 7))
    action[1, 3] = np.nan
    moved = batch.step(action)
    assert moved.held.tolist() == [False, True]
    assert (
        np.isfinite(moved.observation).all() and np.abs(moved.action[1, :6]).max() < 0.05
    )  # noise
