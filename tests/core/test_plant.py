"""The mock plant and the guarded one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core import lie, observe
from robostack.core.guard import Guard
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Command


def push(plant, step: list[float], times: int = 1) -> None:
    for _ in range(times):
        pose = plant.read()["reference"].value
        plant.send(Command(plant.now, lie.compose(pose, lie.exp(np.array(step)))))


@given(st.integers(0, 2**32 - 1))
def test_the_mock_is_exact_by_seed(task, seed):
    plants = [MockPlant(task, floor=0.3) for _ in range(2)]
    drawn = [plant.reset(seed) for plant in plants]
    assert drawn[0] == drawn[1]
    for plant in plants:
        push(plant, [0.01, 0.0, -0.01, 0.0, 0.1, 0.0], times=5)
    for name, sample in plants[0].read().items():
        assert sample.stamp == plants[1].read()[name].stamp
        assert sample.value.tobytes() == plants[1].read()[name].value.tobytes()


def test_a_reset_forgets_what_came_before(task):
    plant = MockPlant(task)
    plant.reset(0)
    first = plant.read()
    push(plant, [0.01] * 6, times=3)
    plant.reset(0)
    for name, sample in plant.read().items():
        assert sample.stamp == first[name].stamp
        np.testing.assert_array_equal(sample.value, first[name].value)


def test_what_was_drawn_is_json(task):
    drawn = MockPlant(task).reset(3)
    assert drawn.keys() == {"start", "target", "target_observed"}
    assert json.loads(json.dumps(drawn)) == drawn


def test_the_mock_gives_every_signal_in_its_size(task):
    plant = MockPlant(task)
    assert plant.read() == {}
    plant.reset(0)
    samples = plant.read()
    assert samples.keys() == observe.SIGNALS.keys()
    for name, signal in observe.SIGNALS.items():
        assert samples[name].value.shape == (signal.size,)


def carry(task, place: np.ndarray) -> dict[str, np.ndarray]:
    """Where a mock's object is at the start, after closing 10 cm beside it, around it, 5 cm on, and let go."""

    def draw(options, rng):
        return replace(task.draw(options, rng), object=place)

    plant = MockPlant(replace(task, object=True, draw=draw))
    plant.reset(0)
    seen = {"start": plant.read()["object"].value}

    def go(name, aside, opening, ticks=30):
        goal = lie.pose(place[:3] + [aside, 0.0, 0.0], place[3:])
        for _ in range(ticks):
            plant.send(Command(plant.now, goal, opening))
        seen[name] = plant.read()["object"].value

    go("open beside", 0.1, 1.0)
    go("closed beside", 0.1, 0.0)
    go("dragged past", 0.0, 0.0)
    go("open around", 0.0, 1.0)
    go("closed around", 0.0, 0.0)
    assert plant.read()["gripper"].value[0] == MockPlant.HOLDS
    go("carried", 0.05, 0.0)
    go("let go", 0.05, 1.0)
    go("away", 0.2, 1.0)
    return seen


def test_the_mock_takes_its_object_along_only_between_closed_fingers(task):
    place = lie.pose([0.5, 0.1, 0.1], lie.so3_exp(np.array([np.pi, 0.0, 0.0])))
    seen = carry(task, place)
    for name in ("start", "open beside", "closed beside", "dragged past", "open around"):
        np.testing.assert_array_equal(seen[name], place)
    np.testing.assert_allclose(seen["carried"][:3], place[:3] + [0.05, 0, 0], atol=1e-4)
    np.testing.assert_allclose(seen["away"], seen["carried"], atol=1e-4)


def test_time_moves_by_one_period_a_command_and_can_be_moved_by_hand(task):
    plants = [MockPlant(task) for _ in range(2)]
    for plant in plants:
        plant.reset(0)
    reference = lie.compose(plants[0].read()["tool_pose"].value, lie.exp(np.full(6, 0.02)))
    plants[0].send(Command(0.0, reference))
    plants[1].follow(Command(0.0, reference))
    for _ in range(4):
        plants[1].advance(task.period / 4)
    assert plants[0].now == pytest.approx(task.period)
    one, other = (plant.read()["tool_pose"].value for plant in plants)
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_below_the_floor_a_spring_pushes_up_in_the_tools_frame(task):
    plant = MockPlant(task, floor=0.3)
    plant.reset(0)
    upside_down = lie.pose([0.5, 0.0, 0.29], lie.so3_exp(np.array([np.pi, 0.0, 0.0])))
    for _ in range(40):
        plant.send(Command(plant.now, upside_down))
    expected = [0.0, 0.0, -0.01 * plant.STIFFNESS, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(plant.read()["wrench"].value, expected, atol=1e-6)


def test_a_guarded_plant_limits_what_it_sends_and_says_why(task, robot):
    inner = MockPlant(task)
    plant = GuardedPlant(inner, Guard(robot.safety, task.period))
    assert plant.is_guarded
    assert not inner.is_guarded
    plant.reset(0)
    assert plant.read()["guard"].value == ""
    start = inner.read()["tool_pose"].value
    push(plant, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert plant.read()["guard"].value == "limited: acceleration"
    allowed = robot.safety.linear_acceleration * task.period**2
    moved = inner.read()["reference"].value[:3] - start[:3]
    assert np.linalg.norm(moved) == pytest.approx(allowed)
    plant.reset(0)
    assert plant.read()["guard"].value == ""


def test_a_guarded_plant_holds_when_it_is_told_to(task, robot):
    guard = Guard(robot.safety, task.period)
    plant = GuardedPlant(MockPlant(task), guard)
    plant.reset(0)
    push(plant, [0.01, 0, 0, 0, 0, 0], times=2)
    guard.stop("test")
    before = plant.read()["tool_pose"].value
    push(plant, [0.01, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(plant.read()["reference"].value, before)
    assert "stopped (test)" in plant.read()["guard"].value
    plant.reset(0)
    assert guard.stop_reason == "test"


def test_a_guarded_plant_sends_nothing_before_the_first_measurement(task, robot):
    class Deaf(MockPlant):
        sent = 0

        def send(self, command):
            self.sent += 1

    inner = Deaf(task)
    plant = GuardedPlant(inner, Guard(robot.safety, task.period))
    plant.send(Command(0.0, lie.IDENTITY))
    assert inner.sent == 0
    assert "no finite tool_pose" in plant.read()["guard"].value


def test_a_plant_may_be_closed_twice(task, robot):
    inner = MockPlant(task)
    plant = GuardedPlant(inner, Guard(robot.safety, task.period))
    plant.close()
    plant.close()
    assert inner.is_closed
