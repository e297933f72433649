"""Images from the mirror's renderer to the actor's samples."""

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from sensor_msgs.msg import CameraInfo, JointState

from robostack.core import catalog
from robostack.core.errors import StaleSample
from robostack.core.types import Command
from robostack.ros import topics
from robostack.ros.plant import RosPlant
from robostack.twin import scene
from tests.ros.wire import Wire, connected, running_cell, wait_until

ROBOT, TASK = catalog.robot("fr3"), catalog.task("peg_insert")
CAMERA = scene.build(ROBOT, TASK).cameras[0]


@pytest.mark.parametrize("lockstep", [True, False])
def test_image_of_the_mirror_is_read_with_the_other_samples(lockstep):
    words = ("task:=peg_insert", "plant:=twin", f"lockstep:={str(lockstep).lower()}")
    with running_cell(*words, f"cameras:={CAMERA}") as cell, connected(cell, Wire) as wire:
        infos = wire.hear(CameraInfo, topics.camera_info(CAMERA))
        joints = wire.hear(JointState, topics.JOINT_STATES)
        wire.start()
        connect = lambda: RosPlant(TASK, ROBOT, lockstep=lockstep, cameras=(CAMERA,))  # noqa: E731
        with connected(cell, connect) as plant:
            plant.reset(1)
            first = plant.read()[CAMERA]
            assert first.value.shape == (128, 128, 3) and first.value.dtype == np.uint8
            assert first.value.std() > 1.0, "a blank picture"
            plant.send(Command(plant.now, plant.read()["tool_pose"].value))
            assert wait_until(lambda: plant.read()[CAMERA].stamp > first.stamp)
        assert wait_until(lambda: infos and joints)
        assert (infos[0].width, infos[0].header.frame_id) == (128, f"{CAMERA}_color_optical_frame")
        assert list(joints[0].name) == [joint.name for joint in ROBOT.joints]
        assert len(joints[0].position) == len(joints[0].velocity) == len(ROBOT.joints)


@pytest.mark.parametrize("lockstep", [True, False])
def test_cameras_are_looked_through_only_while_they_are_wanted(lockstep):
    words = ("task:=peg_insert", "plant:=twin", f"lockstep:={str(lockstep).lower()}")
    with running_cell(*words, f"cameras:={CAMERA}") as cell:
        connect = lambda: RosPlant(TASK, ROBOT, lockstep=lockstep)  # noqa: E731
        with connected(cell, connect) as plant:
            for seed, cameras in enumerate(((), (CAMERA,), (), (CAMERA,))):
                plant.look_through(cameras)
                plant.reset(seed)
                for _ in range(2):
                    plant.send(Command(plant.now, plant.read()["tool_pose"].value))
                    assert (CAMERA in plant.read()) == bool(cameras)


def test_camera_that_nobody_serves_is_named():
    with (
        running_cell("task:=peg_insert", "plant:=twin", "lockstep:=true") as cell,
        connected(cell, lambda: RosPlant(TASK, ROBOT, lockstep=True)) as plant,
    ):
        plant.look_through((CAMERA,))
        with pytest.raises(StaleSample, match=f"/camera/{CAMERA}/color/image_raw"):
            plant.reset(0)
