"""Errors, the catalog, and the checks of robots' and tasks' own values."""

import numpy as np
import pytest

from robostack.core import catalog
from robostack.core.errors import BadValue, RobostackError, UnknownName
from robostack.core.robot import Joint


def test_an_unknown_name_lists_the_valid_ones():
    error = UnknownName("camera", "wrst", ["wrist", "front"], "tasks/pick_cube")
    assert str(error) == 'no camera "wrst"; there are: front, wrist (tasks/pick_cube)'
    assert str(UnknownName("camera", "wrst", [])) == 'no camera "wrst"; there are: (none)'
    assert isinstance(error, RobostackError)


@pytest.mark.parametrize(
    ("find", "names"), [(catalog.robot, catalog.robots), (catalog.task, catalog.tasks)]
)
def test_the_catalog_lists_what_it_has(find, names):
    with pytest.raises(UnknownName) as caught:
        find("nowhere")
    for name in names():
        assert name in str(caught.value)
        assert find(name).name == name


def test_a_home_outside_its_limits_is_refused_with_all_numbers():
    with pytest.raises(BadValue, match=r"joint elbow: home 2.0 rad lies outside \[-1.0, 1.0\] rad"):
        Joint("elbow", -1.0, 1.0, 1.0, 1.0, 2.0)


def test_home_is_every_joints(robot):
    np.testing.assert_array_equal(robot.home, [0.0])


def test_options_change_by_name_and_leave_the_task_alone(task):
    assert task.with_options(reach=0.2).options.reach == 0.2
    assert task.with_options(reach="0.2").options.reach == 0.2
    assert task.options.reach == 0.05


def test_an_unknown_option_lists_the_valid_ones(task):
    with pytest.raises(UnknownName, match=r'no option "rech"; there are: reach \(task touch\)'):
        task.with_options(rech=0.2)


def test_an_option_that_is_no_number_is_refused(task):
    with pytest.raises(BadValue, match="options are numbers, got {'reach': 'far'}"):
        task.with_options(reach="far")


def test_each_axis_has_the_reference_limit_of_its_kind(task, robot):
    np.testing.assert_array_equal(task.reference_limit(robot), [0.01] * 3 + [0.1] * 3)
    np.testing.assert_array_equal(task.action_scale, [0.015] * 3 + [0.05] * 3)
