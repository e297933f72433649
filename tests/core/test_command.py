"""Actions to references and back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robostack.core import lie
from robostack.core.command import Commander, gripper_target

actions = hnp.arrays(float, 6, elements=st.floats(-1.0, 1.0))
wild = hnp.arrays(float, 6, elements=st.floats(-5.0, 5.0))
poses = hnp.arrays(float, 6, elements=st.floats(-1.0, 1.0)).map(lie.exp)
small = hnp.arrays(float, 6, elements=st.floats(-1e-3, 1e-3))
both = st.sampled_from(["measured", "commanded"])
axes = st.tuples(*[st.sampled_from(["compliant", "precise"])] * 6)


@given(wild, poses, poses, both, axes)
def test_no_axis_ever_exceeds_its_reference_limit(
    task, robot, action, measured, commanded, kind, axes
):
    task = replace(task, reference=kind, axes=axes)
    reference = Commander(task, robot).reference(action, measured, commanded)
    stretch = lie.log(lie.between(measured, reference))
    assert (np.abs(stretch) <= task.reference_limit(robot) + 1e-9).all()


@given(actions, poses, small, both)
def test_an_action_comes_back_from_its_reference_when_no_limit_binds(
    task, robot, action, measured, slip, kind
):
    # Precise axes allow 3 cm and 0.3 rad; a full action is 1.5 cm and 0.05 rad per axis.
    commander = Commander(replace(task, reference=kind, axes=("precise",) * 6), robot)
    commanded = lie.compose(measured, lie.exp(slip))
    reference = commander.reference(action, measured, commanded)
    np.testing.assert_allclose(commander.action(reference, measured, commanded), action, atol=1e-7)


@given(wild, poses, poses, both)
def test_an_executed_action_is_one_that_could_be_asked_for(
    task, robot, action, measured, commanded, kind
):
    commander = Commander(replace(task, reference=kind), robot)
    executed = commander.action(
        commander.reference(action, measured, commanded), measured, commanded
    )
    assert (np.abs(executed) <= 1.0).all()


@given(poses)
def test_the_step_is_in_the_tools_own_frame(task, robot, measured):
    commander = Commander(replace(task, axes=("precise",) * 6), robot)
    reference = commander.reference(np.array([1.0, 0, 0, 0, 0, 0]), measured, measured)
    ahead = lie.rotate(measured[3:], np.array([task.translation_scale, 0.0, 0.0]))
    np.testing.assert_allclose(reference[:3], measured[:3] + ahead, atol=1e-12)


def test_steps_add_up_from_the_commanded_pose_and_not_from_the_measured_one(task, robot):
    still, forward = lie.IDENTITY, np.array([1.0, 0, 0, 0, 0, 0])
    for kind, expected in (("measured", 0.015), ("commanded", 0.03)):
        commander = Commander(replace(task, reference=kind, axes=("precise",) * 6), robot)
        reference = still
        for _ in range(5):  # the tool is stuck: commanded steps add up, to the limit of 3 cm
            reference = commander.reference(forward, still, reference)
        np.testing.assert_allclose(reference[:3], [expected, 0, 0], atol=1e-12)


@pytest.mark.parametrize("kind", ["measured", "commanded"])
def test_a_batch_gives_what_its_members_give(task, robot, kind):
    commander = Commander(replace(task, reference=kind), robot)
    rng = np.random.default_rng(0)
    action = rng.normal(size=(5, 6))
    measured, commanded = (lie.exp(0.1 * rng.normal(size=(5, 6))) for _ in range(2))
    references = commander.reference(action, measured, commanded)
    back = commander.action(references, measured, commanded)
    for i in range(5):
        one = commander.reference(action[i], measured[i], commanded[i])
        np.testing.assert_allclose(references[i], one, atol=1e-15)
        np.testing.assert_allclose(
            back[i], commander.action(one, measured[i], commanded[i]), atol=1e-12
        )


def test_the_gripper_opens_from_minus_one_to_one():
    action = np.zeros((4, 7))
    action[:, 6] = [-1.0, 0.0, 1.0, 3.0]
    np.testing.assert_array_equal(gripper_target(action, True), [0.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(gripper_target(action[:, :6], False), np.zeros(4))
