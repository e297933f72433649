"""An episode over ROS 2 is the episode in one process, bit for bit."""

import dataclasses

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from robostack.core import catalog
from robostack.core.errors import PlantFault, StaleSample, Unavailable
from robostack.core.guard import Guard
from robostack.core.loop import Loop
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Command
from robostack.ros import topics
from robostack.ros.plant import RosPlant
from robostack.twin.plant import TwinPlant
from tests.ros.wire import Wire, connected, running_cell, wait_until

ROBOT = catalog.robot("fr3")


class Wild:
    """A policy that runs into every limit, and asks for nonsense at the first and at every fifth step."""

    version = 3

    def __init__(self):
        self._steps = 0

    def act(self, observation, rng, pictures=None):
        action = 2.0 * np.sin(1e4 * observation[:7].astype(float) + np.arange(7))
        if self._steps % 5 == 0:
            action[0] = np.nan
        self._steps += 1
        return action if rng is None else action + rng.normal(size=7)


def over_ros(cell, task):
    return connected(cell, lambda: RosPlant(task, ROBOT, lockstep=True))


def episodes(plant, task) -> list:
    loop = Loop(plant, task, ROBOT)
    return [loop.run(Wild(), kind, 0, seed) for kind, seed in (("practice", 5), ("solo", 6))]


def assert_same(got, expected):
    assert got.header.drawn == expected.header.drawn
    assert np.array_equal(got.observations, expected.observations)
    for a, b in zip(got.steps, expected.steps, strict=True):
        for field in dataclasses.fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if field.name in ("stamp", "age"):  # whole nanoseconds on the wire
                assert abs(x - y) < 2e-9, field.name
            else:
                np.testing.assert_array_equal(x, y, field.name)  # NaN equals NaN here


@pytest.fixture(scope="module")
def cell():
    with running_cell("task:=reach", "lockstep:=true") as cell:
        yield cell


@pytest.fixture
def task():
    return catalog.task("reach")


@pytest.fixture
def plant(cell, task):
    with over_ros(cell, task) as plant:
        yield plant


def test_episodes_over_ros_equal_those_in_one_process(plant, task):
    alone = GuardedPlant(MockPlant(task), Guard(ROBOT.safety, task.period))
    for got, expected in zip(episodes(plant, task), episodes(alone, task), strict=True):
        assert_same(got, expected)
        reasons = {step.guard.partition(":")[0] for step in got.steps}
        assert reasons == {"", "limited", "hold"}, "the policy is too tame for this test"
        held = [step for step in got.steps if step.guard.startswith("hold")]
        assert any(step.action[6] != np.sign(step.action_policy[6]) for step in held)


@pytest.mark.parametrize("name", catalog.tasks())  # without and with a gripper and a loose thing
def test_mujoco_over_ros_equals_mujoco_in_this_process(name):
    """Noise and delay too: both sides see the same samples, and so do both guards."""
    task = catalog.task(name)
    with (
        running_cell(f"task:={name}", "lockstep:=true", "plant:=twin") as cell,
        over_ros(cell, task) as plant,
    ):
        alone = GuardedPlant(TwinPlant(task, ROBOT), Guard(ROBOT.safety, task.period))
        for got, expected in zip(episodes(plant, task), episodes(alone, task), strict=True):
            assert_same(got, expected)
        alone.close()


def test_two_actors_after_each_other_get_the_same_episode(cell, task):
    for _ in range(2):
        with over_ros(cell, task) as plant:
            first, second = episodes(plant, task)[0], plant.reset(5)
            assert first.header.drawn == second
            assert plant.now == 0.0


def test_command_that_is_no_number_is_held_with_its_reason(plant):
    plant.reset(1)
    measured = plant.read()["tool_pose"].value
    plant.send(Command(plant.now, np.full(7, np.nan), 0.5))
    samples = plant.read()
    assert samples["guard"].value == "hold: the command is not a finite pose"
    assert np.array_equal(samples["reference"].value, measured)
    assert plant.now == pytest.approx(0.1)


def test_gripper_outside_its_range_is_held(plant):
    plant.reset(1)
    plant.send(Command(plant.now, plant.read()["tool_pose"].value, 7.0))
    assert "gripper is outside 0..1" in plant.read()["guard"].value


def test_samples_have_the_shapes_and_names_that_every_plant_gives(plant, task):
    plant.reset(2)
    mock = MockPlant(task)
    mock.reset(2)
    got, expected = plant.read(), mock.read()
    assert got.keys() == expected.keys() | {"guard"}
    for name, sample in expected.items():
        assert np.array_equal(got[name].value, sample.value), name
        assert got[name].stamp == sample.stamp


def test_reset_refuses_a_seed_that_is_no_seed(plant):
    with pytest.raises(PlantFault, match="refuses seed -1"):
        plant.reset(-1)


def test_where_time_waits_nothing_is_told_by_the_second(cell, plant):
    with connected(cell, Wire) as wire:
        wire.start()
        assert wait_until(lambda: wire.trigger(topics.RESET).success)
        assert wire.trigger(topics.BEGIN).success
        assert wire.session.node.count_publishers(topics.STATE) == 1
        assert wire.session.node.count_publishers(topics.DIAGNOSTICS) == 0


def test_close_twice(plant):
    plant.close()
    plant.close()


def test_silent_mirror_is_named(task, monkeypatch):
    monkeypatch.setattr("robostack.ros.plant.STEP_S", 0.5)
    with running_cell("task:=reach", "lockstep:=true") as cell, over_ros(cell, task) as plant:
        plant.reset(1)
        pose = plant.read()["tool_pose"].value
        cell.group.kill("mirror")
        plant.send(Command(plant.now, pose))
        with pytest.raises(StaleSample, match="no current_pose, .*check .*node mirror"):
            plant.read()
        cell.group.kill("guard")
        assert wait_until(lambda: cell.group.status("guard") is not None)
        plant.send(Command(plant.now, pose))
        with pytest.raises(
            StaleSample, match="gripper/command.*target_pose; check node guard and node mirror"
        ):
            plant.read()


def test_nobody_there_is_told_with_what_to_start(task, monkeypatch):
    monkeypatch.setattr("robostack.ros.calls.FIND_S", 0.3)
    with (
        running_cell(nodes=()) as cell,
        connected(cell, lambda: RosPlant(task, ROBOT, lockstep=True)) as plant,
        pytest.raises(Unavailable, match=r"no service .*guard/begin.*robostack up mirror"),
    ):
        plant.reset(1)
