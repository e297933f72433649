"""The guard, against random commands and every reason to hold."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core import lie
from robostack.core.guard import Guard
from robostack.core.types import Command, Sample

PERIOD = 0.1  # s
START = lie.pose([0.5, 0.0, 0.3], [1.0, 0.0, 0.0, 0.0])


def samples(tool_pose=START, wrench=None, stamp=0.0, **more) -> dict[str, Sample]:
    values = {"tool_pose": tool_pose, "wrench": np.zeros(6) if wrench is None else wrench, **more}
    return {name: Sample(stamp, np.asarray(value, float)) for name, value in values.items()}


@pytest.fixture(scope="session")
def limits(robot):
    return robot.safety


@pytest.fixture
def guard(limits) -> Guard:
    return Guard(limits, PERIOD)


def moved(*step: float, start: np.ndarray = START) -> np.ndarray:
    return lie.compose(start, lie.exp(np.array([*step, *[0.0] * (6 - len(step))])))


def velocities(path: list[np.ndarray], period: float = PERIOD) -> np.ndarray:
    """(T, 6) linear and angular velocity between poses, base frame."""
    return np.array([
        np.concatenate([b[:3] - a[:3], lie.so3_log(lie.quat_multiply(b[3:], lie.quat_conjugate(a[3:])))])
        for a, b in pairwise(path)
    ]) / period  # fmt: skip


@st.composite
def wanted_paths(draw) -> list[np.ndarray]:
    """Walks with jumps: out of the workspace, back, half turns."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([0.003, 0.03, 0.3]))
    pose, path = START, []
    for _ in range(draw(st.integers(1, 30))):
        jump = 10.0 if rng.random() < 0.1 else 1.0
        pose = lie.compose(pose, lie.exp(jump * size * rng.normal(size=6)))
        pose[3:] = lie.quat_normalize(pose[3:])
        path.append(pose)
    return path


@given(wanted_paths(), st.sampled_from([0.01, 0.1]))
def test_whatever_is_asked_stays_inside_the_limits(limits, wanted, period):
    guard, path, reasons = Guard(limits, period), [START], [""]
    for i, reference in enumerate(wanted):
        now = i * period
        verdict = guard.check(Command(now, reference), samples(path[-1], stamp=now), now)
        assert not verdict.is_hold
        is_same = np.array_equal(verdict.command.reference, reference)
        assert is_same == (verdict.reason == "")
        path.append(verdict.command.reference)
        reasons.append(verdict.reason)
    places = np.array(path)[:, :3]
    assert (places >= np.array(limits.workspace_lower) - 1e-8).all()
    assert (places <= np.array(limits.workspace_upper) + 1e-8).all()
    np.testing.assert_allclose(np.linalg.norm(np.array(path)[:, 3:], axis=-1), 1.0, atol=1e-9)
    v = velocities(path, period)
    a = np.diff(v, axis=0, prepend=np.zeros((1, 6))) / period
    assert (np.linalg.norm(v[:, :3], axis=-1) <= limits.linear_speed * (1 + 1e-6)).all()
    assert (np.linalg.norm(v[:, 3:], axis=-1) <= limits.angular_speed * (1 + 1e-6)).all()
    assert (np.linalg.norm(a[:, 3:], axis=-1) <= limits.angular_acceleration * (1 + 1e-6)).all()
    is_free = ["workspace" not in reason for reason in reasons[1:]]
    assert (
        np.linalg.norm(a[is_free, :3], axis=-1) <= limits.linear_acceleration * (1 + 1e-6)
    ).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_a_command_within_the_limits_passes_bit_for_bit(limits, seed, gripper):
    rng, guard = np.random.default_rng(seed), Guard(limits, PERIOD)
    velocity, pose = np.zeros(6), START
    for i in range(20):
        kick = rng.uniform(-1, 1, 6) * PERIOD * np.repeat([0.5, 2.0], 3)
        velocity = (
            0.9 * velocity + kick
        )  # at most 0.5 m/s^2 an axis, from at most 0.05 m/s at the end
        velocity[:3] = np.clip(velocity[:3], -0.1, 0.1)
        velocity[3:] = np.clip(velocity[3:], -0.4, 0.4)
        turn = lie.so3_exp(velocity[3:] * PERIOD)
        pose = lie.pose(pose[:3] + velocity[:3] * PERIOD, lie.quat_multiply(turn, pose[3:]))
        pose[:3] = np.clip(pose[:3], [0.25, -0.35, 0.1], [0.75, 0.35, 0.55])
        now = i * PERIOD
        verdict = guard.check(Command(now, pose, gripper), samples(stamp=now), now)
        assert verdict.reason == ""
        assert not verdict.is_hold
        assert verdict.command.reference.tobytes() == pose.tobytes()
        assert verdict.command.gripper == gripper


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ([0.022], "limited: acceleration"),  # from rest, 2 cm within one period
        ([0, 0.0, 0, 0.15], "limited: angular speed"),  # 0.1 rad
        (
            [0, 0.0, 0, 3.0],
            "limited: angular acceleration; limited: angular speed",
        ),  # 0.2 rad, 0.1 rad
        ([0.022, 0, 0, 0.15], "limited: acceleration; limited: angular speed"),
        ([0.019, 0, 0, 0.09], ""),
    ],
)
def test_what_was_limited_is_named(limits, step, reason):
    guard = Guard(replace(limits, angular_acceleration=20.0), PERIOD)
    assert guard.check(Command(0.0, moved(*step)), samples(), 0.0).reason == reason


def test_the_wall_is_named_and_not_passed(guard, limits):
    place = START
    for i in range(30):
        now = i * PERIOD
        asked = moved(0.01, start=place) if i < 29 else moved(1.0, start=place)
        verdict = guard.check(Command(now, asked), samples(place, stamp=now), now)
        place = verdict.command.reference
    assert "limited: workspace" in verdict.reason
    assert place[0] == pytest.approx(limits.workspace_upper[0], abs=1e-9)


def test_a_little_too_far_is_too_far(limits):
    upper = limits.workspace_upper[0]
    at_wall = lie.pose([upper, 0.0, 0.3], START[3:])
    asked = lie.pose([upper + 5e-6, 0.0, 0.3], START[3:])
    verdict = Guard(limits, PERIOD).check(Command(0.0, asked), samples(at_wall), 0.0)
    assert verdict.reason == "limited: workspace"
    assert verdict.command.reference[0] == pytest.approx(upper, abs=1e-9)


def test_at_the_wall_it_is_at_rest_and_may_go_back_at_once(limits):
    guard, place = Guard(limits, PERIOD), START
    for i in range(20):
        now = i * PERIOD
        asked = moved(0.02, start=place)
        place = guard.check(Command(now, asked), samples(stamp=now), now).command.reference
    back = moved(-0.015, start=place)  # from rest 2 cm are allowed
    verdict = guard.check(Command(2.0, back), samples(stamp=2.0), 2.0)
    assert verdict.reason == ""
    np.testing.assert_array_equal(verdict.command.reference, back)


def test_from_outside_it_comes_back_at_the_speed_limit(guard, limits):
    place = lie.pose([1.0, 0.0, 0.3], START[3:])
    for i in range(20):
        now = i * PERIOD
        before = place
        verdict = guard.check(Command(now, place), samples(place, stamp=now), now)
        place = verdict.command.reference
        assert np.linalg.norm(place[:3] - before[:3]) <= limits.linear_speed * PERIOD + 1e-12
    assert 0.78 < place[0] <= limits.workspace_upper[0] + 1e-9


COMMAND = Command(1.0, moved(0.01), 0.5)
BROKEN = np.array([np.nan, *START[1:]])


@pytest.mark.parametrize(
    ("command", "seen", "reason"),
    [
        (replace(COMMAND, stamp=0.7), {}, "command is 300 ms old, limit 250 ms"),
        (replace(COMMAND, stamp=np.nan), {}, "command is nan ms old, limit 250 ms"),
        (replace(COMMAND, reference=BROKEN), {}, "the command is not a finite pose"),
        (replace(COMMAND, reference=START[:3]), {}, "the command is not a finite pose"),
        (replace(COMMAND, reference=2.0 * START), {}, "quaternion is not of unit length"),
        (replace(COMMAND, gripper=1.5), {}, "gripper is outside 0..1"),
        (replace(COMMAND, gripper=np.nan), {}, "gripper is outside 0..1"),
        (COMMAND, {"wrench": [30.0, 30.0, 0, 0, 0, 0]}, "force 42 N, limit 40 N"),
        (COMMAND, {"wrench": [0, 0, 0, 0, 3.0, 4.5]}, "torque 5.4 N m, limit 5.0 N m"),
        (COMMAND, {"wrench": [np.nan] * 6}, "no finite wrench"),
        (COMMAND, {"tool_pose": BROKEN}, "no finite tool_pose"),
        (COMMAND, {"stamp": 0.7}, "tool_pose is 300 ms old, limit 250 ms"),
        (COMMAND, {"stamp": np.nan}, "tool_pose is nan ms old, limit 250 ms"),
    ],
)
def test_it_holds_and_says_why(guard, command, seen, reason):
    verdict = guard.check(command, samples(**{"stamp": 1.0, **seen}), 1.0)
    assert verdict.is_hold
    assert verdict.reason.startswith("hold: ")
    assert reason in verdict.reason
    if not seen.keys() & {"tool_pose", "stamp"}:
        np.testing.assert_array_equal(verdict.command.reference, START)


@pytest.mark.parametrize("name", ["tool_pose", "wrench"])
def test_it_holds_without_a_sample(guard, name):
    rest = {key: sample for key, sample in samples(stamp=1.0).items() if key != name}
    assert f"no finite {name}" in guard.check(COMMAND, rest, 1.0).reason


def test_a_hold_without_any_measurement_keeps_the_last_reference(guard):
    passed = guard.check(COMMAND, samples(stamp=1.0), 1.0)
    held = guard.check(replace(COMMAND, reference=moved(0.02)), {}, 1.0)
    np.testing.assert_array_equal(held.command.reference, passed.command.reference)


def test_a_hold_with_an_old_measurement_keeps_the_last_reference(guard):
    # Going back to where the tool was 0.3 s ago would be a jump of up to 8 cm at full speed.
    passed = guard.check(COMMAND, samples(stamp=1.0), 1.0)
    held = guard.check(replace(COMMAND, stamp=1.3), samples(stamp=1.0), 1.3)
    assert "tool_pose is 300 ms old" in held.reason
    np.testing.assert_array_equal(held.command.reference, passed.command.reference)


def test_a_hold_that_knows_no_place_at_all_never_passes_the_command_on(guard):
    held = guard.check(COMMAND, {}, 1.0)
    assert held.is_hold
    assert np.isnan(held.command.reference).all()


def test_a_hold_keeps_the_gripper_too(guard):
    guard.check(replace(COMMAND, gripper=0.25), samples(stamp=1.0), 1.0)
    for gripper in (1.0, 5.0, np.nan):
        guard.stop("test")
        held = guard.check(replace(COMMAND, gripper=gripper), samples(stamp=1.0), 1.0)
        assert held.command.gripper == 0.25


@pytest.mark.parametrize("gripper", [1.5, np.nan])
def test_the_first_hold_keeps_the_gripper_where_it_is_measured(guard, gripper):
    command = replace(COMMAND, gripper=gripper)
    held = guard.check(command, samples(stamp=1.0, gripper=[0.75]), 1.0)
    assert held.command.gripper == 0.75
    held = guard.check(command, samples(stamp=1.0), 1.0)
    assert 0.0 <= held.command.gripper <= 1.0


def test_after_a_hold_it_starts_from_rest_where_the_tool_is(guard, limits):
    place = START
    for i in range(5):
        now = i * PERIOD
        place = guard.check(
            Command(now, moved(0.02, start=place)), samples(stamp=now), now
        ).command.reference
    elsewhere = moved(0.0, 0.05)
    wrench = [100.0, 0, 0, 0, 0, 0]
    assert guard.check(Command(1.0, place), samples(elsewhere, wrench, 1.0), 1.0).is_hold
    after = guard.check(
        Command(1.1, moved(0.5)), samples(elsewhere, stamp=1.1), 1.1
    ).command.reference
    step = np.linalg.norm(after[:3] - elsewhere[:3])
    assert step == pytest.approx(limits.linear_acceleration * PERIOD**2)


def test_a_stop_stays_until_a_person_clears_it(guard):
    guard.stop("emergency_stop")
    guard.stop("another")
    for i in range(5):
        now = 1.0 + i * PERIOD
        verdict = guard.check(replace(COMMAND, stamp=now), samples(stamp=now), now)
        assert verdict.is_hold
        assert verdict.reason == "hold: stopped (emergency_stop); a person must clear it"
        guard.reset()
        guard.hold(COMMAND, samples(stamp=now), "hold: test")
    assert guard.stop_reason == "emergency_stop"
    guard.clear_stop()
    assert guard.stop_reason == ""
    assert guard.check(COMMAND, samples(stamp=1.0), 1.0).reason == ""


def test_a_stop_is_the_reason_whatever_else_is_wrong(guard):
    guard.stop("test")
    assert "stopped (test)" in guard.check(replace(COMMAND, reference=BROKEN), {}, 1.0).reason


@given(wanted_paths())
def test_no_sequence_of_commands_ever_clears_a_stop(limits, wanted):
    guard = Guard(limits, PERIOD)
    guard.stop("test")
    for i, reference in enumerate(wanted):
        now = i * PERIOD
        verdict = guard.check(Command(now, reference), samples(stamp=now), now)
        assert verdict.is_hold
        np.testing.assert_array_equal(verdict.command.reference, START)


def test_watching_gives_the_same_reasons_without_a_command(guard):
    assert guard.watch(samples(stamp=1.0), 1.0) == ""
    assert guard.watch(samples(stamp=1.0), 1.3) == "tool_pose is 300 ms old, limit 250 ms"
    assert "force" in guard.watch(samples(wrench=[50.0, 0, 0, 0, 0, 0], stamp=1.0), 1.0)
    guard.stop("test")
    assert "stopped (test)" in guard.watch(samples(stamp=1.0), 1.0)


def test_a_shorter_period_allows_a_shorter_step(limits):
    step = {}
    for period in (0.1, 0.05):
        verdict = Guard(limits, PERIOD).check(Command(0.0, moved(1.0)), samples(), 0.0, period)
        step[period] = verdict.command.reference[0] - START[0]
    assert step[0.05] == pytest.approx(
        step[0.1] / 4
    )  # from rest: half a step is a quarter of the way
