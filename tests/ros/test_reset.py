"""Where no mirror puts the arm to its start, it is driven there, through the guard."""

import numpy as np
import pytest

from robostack.core import catalog, lie
from robostack.core.errors import PlantFault
from robostack.core.guard import Guard
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.ros import homing

ROBOT, TASK = catalog.robot("fr3"), catalog.task("reach")
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # wxyz
A = lie.pose(np.array([0.4, 0.0, 0.2]), DOWN)
B = lie.pose(np.array([0.5, 0.1, 0.3]), lie.quat_multiply(lie.so3_exp(np.array([0, 0, 1.0])), DOWN))


def test_the_way_goes_up_over_and_down():
    poses = np.array(homing.way(A, B, 0.1))
    assert poses[-1] == pytest.approx(B)
    top = B[2] + homing.LIFT
    sideways = np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1) > 1e-9
    assert poses[:-1][sideways, 2] == pytest.approx(top)
    assert poses[:, 2].max() == pytest.approx(top)


def test_the_way_is_slow():
    steps = np.diff(np.array([A, *homing.way(A, B, 0.1)]), axis=0)
    assert np.linalg.norm(steps[:, :3], axis=1).max() <= homing.SPEED * 0.1 + 1e-9


def test_it_arrives_through_the_guard():
    plant = GuardedPlant(MockPlant(TASK), Guard(ROBOT.safety, TASK.period))
    plant.reset(1)
    goal = TASK.draw(TASK.options, np.random.default_rng(2)).start
    homing.go(plant, goal, TASK.period)
    assert plant.read()["tool_pose"].value[:3] == pytest.approx(goal[:3], abs=homing.NEAR)


def test_a_stopped_guard_ends_the_way():
    guard = Guard(ROBOT.safety, TASK.period)
    plant = GuardedPlant(MockPlant(TASK), guard)
    plant.reset(1)
    guard.stop("button")
    with pytest.raises(PlantFault, match="the way to the start pose ended: hold: stopped"):
        homing.go(plant, A, TASK.period)


def test_an_arm_that_does_not_come_is_told():
    plant = MockPlant(TASK)
    plant.reset(1)
    plant.FOLLOWS = 0.0
    with pytest.raises(PlantFault, match="mm and .* rad from its start pose"):
        homing.go(plant, B, TASK.period)


@pytest.mark.ros
def test_a_real_cell_is_driven_to_its_start(monkeypatch):
    monkeypatch.setattr(homing, "SPEED", 0.2)  # for a quick test
    pytest.importorskip("rclpy")
    from robostack.ros.plant import RosPlant
    from tests.ros.wire import connected, running_cell

    with running_cell("task:=reach", "lockstep:=false") as cell:
        connect = lambda: RosPlant(TASK, ROBOT, lockstep=False, has_mirror=False)  # noqa: E731
        with connected(cell, connect) as plant:
            drawn = plant.reset(3)
            assert drawn.keys() == {"start"}, "nobody knows where a real target lies"
            place = plant.read()["tool_pose"].value
            assert place[:3] == pytest.approx(drawn["start"][:3], abs=homing.NEAR)
