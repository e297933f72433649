"""The guard as a node, met as somebody else's node would meet it."""

import ctypes
import signal
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Bool, Header, String

from robostack.core import catalog, clock
from robostack.core.errors import StaleSample
from robostack.core.types import Command
from robostack.ros import messages, topics
from robostack.ros.plant import RosPlant
from tests.ros.wire import Wire, connected, running_cell, wait_until

ROBOT, TASK = catalog.robot("fr3"), catalog.task("reach")
LIMIT = ROBOT.safety.command_age


@pytest.fixture(scope="module")
def cell():
    with running_cell("task:=reach", "lockstep:=false") as cell:
        yield cell


@pytest.fixture
def plant(cell):
    with connected(cell, lambda: RosPlant(TASK, ROBOT, lockstep=False)) as plant:
        yield plant


@pytest.fixture
def wire(cell):
    with connected(cell, Wire) as wire:
        yield wire


def hold_still(plant, seconds: float) -> None:
    """Commands the pose where the tool is, as a policy that does nothing."""
    pose = plant.read()["tool_pose"].value
    for _ in range(round(seconds / TASK.period)):
        plant.send(Command(plant.now, pose, 0.5))
        clock.sleep(TASK.period)


def holds(verdicts: list) -> list[str]:
    return [verdict.frame_id for verdict in verdicts if verdict.frame_id.startswith("hold")]


def test_targets_come_at_100_hz_and_hold_when_the_policy_falls_silent(plant, wire):
    targets = wire.hear(PoseStamped, topics.TARGET_POSE)
    verdicts, states = wire.hear(Header, topics.VERDICT), wire.hear(String, topics.STATE)
    wire.start()
    plant.reset(1)
    assert plant.read()["reference"].value == pytest.approx(plant.read()["tool_pose"].value)
    assert not targets, "the guard spoke before the first command"
    hold_still(plant, 0.3)
    begun = len(targets)
    hold_still(plant, 1.0)
    assert 85 <= len(targets) - begun <= 120
    stamps = [messages.stamp_of(target) for target in targets]
    assert all(np.diff(stamps) > 0)

    assert wait_until(lambda: holds(verdicts))
    assert "no command for" in holds(verdicts)[0]
    assert wait_until(lambda: states and states[-1].data == holds(verdicts)[0])
    begun, told = len(targets), len(holds(verdicts))
    clock.sleep(0.5)
    assert 40 <= len(targets) - begun <= 60, "targets end with the commands"
    assert len(holds(verdicts)) == told, "the reason is told once"

    hold_still(plant, 0.3)
    assert plant.read()["guard"].value == ""


def test_ages_are_those_of_the_measurements(plant):
    plant.reset(1)
    hold_still(plant, 0.5)
    samples = plant.read()
    ages = {name: plant.now - sample.stamp for name, sample in samples.items()}
    assert all(-1e-3 < age < 0.1 for age in ages.values()), ages


def test_emergency_stop_latches_until_a_person_clears_it(plant, wire):
    stop, states = wire.speak(Bool, topics.EMERGENCY_STOP), wire.hear(String, topics.STATE)
    wire.start()
    plant.reset(1)
    hold_still(plant, 0.3)
    assert wait_until(lambda: stop.get_subscription_count() == 1)
    stop.publish(messages.to_flag(True))
    assert wait_until(lambda: states and states[-1].data == "stopped: emergency_stop")
    stop.publish(messages.to_flag(False))
    plant.reset(2)
    hold_still(plant, 0.3)
    assert plant.read()["guard"].value == "hold: stopped (emergency_stop); a person must clear it"

    assert "emergency_stop" in wire.trigger(topics.CLEAR_FAULT).message
    hold_still(plant, 0.3)
    assert plant.read()["guard"].value == ""


def test_emergency_stop_that_falls_silent_has_stopped(plant, wire):
    stop = wire.speak(Bool, topics.EMERGENCY_STOP)
    wire.start()
    plant.reset(1)
    assert wait_until(lambda: stop.get_subscription_count() == 1)
    for _ in range(6):
        stop.publish(messages.to_flag(False))
        hold_still(plant, 0.1)
    assert plant.read()["guard"].value == "", "it speaks at 10 Hz and does not stop"
    hold_still(plant, 0.4)
    assert "stopped (emergency_stop silent for" in plant.read()["guard"].value
    stop.publish(messages.to_flag(False))
    hold_still(plant, 0.1)
    assert "emergency_stop silent" in plant.read()["guard"].value, "only a person clears it"
    wire.trigger(topics.CLEAR_FAULT)
    hold_still(plant, 0.5)
    assert plant.read()["guard"].value == "", "the person saw that it is gone"


def test_state_and_diagnostics_are_told_every_second(plant, wire):
    states, told = wire.hear(String, topics.STATE), wire.hear(DiagnosticArray, topics.DIAGNOSTICS)
    wire.start()
    plant.reset(1)
    hold_still(plant, 2.5)
    assert 2 <= [state.data for state in states].count("policy") <= 4
    for name, rate, summary in (("guard", "target, Hz", "policy"), ("mirror", "tick, Hz", "runs")):
        statuses = [s for array in told for s in array.status if s.name == f"{name}: cell"]
        assert 2 <= len(statuses) <= 5  # once a second, with room for a busy machine
        well = [status for status in statuses if status.message == summary][-1]
        assert (well.level, well.hardware_id) == (DiagnosticStatus.OK, "fr3")
        values = {pair.key: pair.value for pair in well.values}
        assert 80 <= float(values[rate]) <= 120
    assert 0.0 <= float(values["age of target, s"]) < 0.1
    wire.trigger(topics.STOP)
    assert wait_until(lambda: "stopped" in states[-1].data and "stopped" in states[-2].data)
    assert wait_until(
        lambda: any(array.status[0].level == DiagnosticStatus.ERROR for array in told[-3:])
    )
    wire.trigger(topics.CLEAR_FAULT)


def test_service_stops_too(plant, wire):
    wire.start()
    plant.reset(1)
    wire.trigger(topics.STOP)
    hold_still(plant, 0.2)
    assert "service guard/stop" in plant.read()["guard"].value
    wire.trigger(topics.CLEAR_FAULT)


@pytest.mark.parametrize(
    ("frame", "number", "reason"),
    [
        ("base", np.nan, "the command is not a finite pose"),
        ("map", 0.5, 'policy/target_pose is in frame "map", expected "base"'),
        ("base", 0.4, "the command's quaternion is not of unit length"),
    ],
)
def test_nonsense_is_held_with_a_reason(plant, frame, number, reason):
    plant.reset(1)
    hold_still(plant, 0.2)
    message = messages.to_pose(np.full(7, number), plant.now, frame, is_checked=False)
    plant._gripper_out.publish(messages.to_gripper(0.5, messages.stamp_of(message)))
    plant._pose_out.publish(message)
    assert wait_until(lambda: reason in plant.read()["guard"].value)
    hold_still(plant, 0.2)
    assert plant.read()["guard"].value == ""


def test_old_command_is_held(plant):
    plant.reset(1)
    assert "gripper_reference" not in plant.read()
    hold_still(plant, 0.2)
    plant.send(Command(plant.now - 2 * LIMIT, plant.read()["tool_pose"].value, 0.9))
    assert wait_until(lambda: "command is" in plant.read()["guard"].value)
    assert plant.read()["gripper_reference"].value == [0.5], "a hold leaves the gripper as it is"


def test_second_guard_refuses_and_the_first_goes_on(cell, plant):
    plant.reset(1)
    hold_still(plant, 0.2)
    with running_cell("task:=reach", nodes=()) as other:
        other.domain = cell.domain
        other.start("guard", "task:=reach")
        assert other.status("guard") == 2
        assert "/guard publishes target_pose already" in other.lines[-1]
    hold_still(plant, 0.2)
    assert plant.read()["guard"].value == ""


def test_pause_of_the_actor_itself_is_not_silence_of_the_cell(plant):
    plant.reset(1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the thread that listens gets no head start
    try:
        for _ in range(5):
            ctypes.PyDLL(None).usleep(400_000)  # no thread of Python runs, as in a long collection
            assert plant.read()["tool_pose"].value.shape == (7,)
    finally:
        sys.setswitchinterval(interval)


def test_publisher_beside_the_guard_stops_it(cell, plant, wire):
    wire.start()
    plant.reset(1)
    rival = wire.speak(PoseStamped, topics.TARGET_POSE)
    deadline = clock.now() + 60.0
    while not plant.read()["guard"].value and clock.now() < deadline:
        hold_still(plant, 0.1)
    assert "several nodes publish target_pose" in plant.read()["guard"].value
    wire.session.node.destroy_publisher(rival)
    clock.sleep(0.5)
    wire.trigger(topics.CLEAR_FAULT)
    hold_still(plant, 0.3)
    assert plant.read()["guard"].value == ""


def test_guard_leaves_with_a_hold_and_status_0():
    with running_cell("task:=reach") as cell, connected(cell, Wire) as wire:
        targets = wire.hear(PoseStamped, topics.TARGET_POSE)
        wire.start()
        with connected(cell, lambda: RosPlant(TASK, ROBOT, lockstep=False)) as plant:
            plant.reset(1)
            hold_still(plant, 0.3)
            place = plant.read()["tool_pose"].value
            begun = len(targets)
            cell.signal("guard", signal.SIGINT)
            cell.signal("guard", signal.SIGTERM)  # a second one changes nothing
            assert cell.status("guard") == 0
            assert wait_until(lambda: len(targets) - begun >= 15)
            last = messages.from_pose(targets[-1], "base")
            assert last[:3] == pytest.approx(place[:3], abs=1e-3)
            with pytest.raises(StaleSample, match="no target_pose; check node guard"):
                wait_until(lambda: plant.read() is None)
        cell.signal("mirror", signal.SIGTERM)
        assert cell.status("mirror") == 0


def test_dead_mirror_is_held_and_named():
    with running_cell("task:=reach") as cell, connected(cell, Wire) as wire:
        verdicts = wire.hear(Header, topics.VERDICT)
        wire.start()
        with connected(cell, lambda: RosPlant(TASK, ROBOT, lockstep=False)) as plant:
            plant.reset(1)
            hold_still(plant, 0.3)
            cell.signal("mirror", signal.SIGKILL)
            with pytest.raises(StaleSample, match="no current_pose, .*check node mirror"):
                wait_until(lambda: plant.read() is None)
        assert wait_until(
            lambda: any(
                "tool_pose is" in reason or "no command" in reason for reason in holds(verdicts)
            )
        )
        cell.signal("guard", signal.SIGINT)
        assert cell.status("guard") == 0
