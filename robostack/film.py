"""Short films of a policy in the mirror, for people to look at."""

from pathlib import Path

import cv2
import numpy as np

from robostack.core import observe
from robostack.core.command import Commander, gripper_target
from robostack.core.errors import Unavailable
from robostack.core.loop import Policy
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Command
from robostack.twin.plant import TwinPlant
from robostack.twin.render import Camera

SIZE = (360, 480)  # height, width of one picture, px
FRAMES_A_TICK = 2  # so that motion between two decisions is seen
REST = 6  # frames that a finished episode stays


def film(path: Path, task: Task, robot: Robot, policy: Policy, seeds: list[int]) -> Path:
    """Plays one episode per seed and writes them, one after another, seen by all cameras. Returns the path."""
    plant = TwinPlant(task, robot)
    cameras = [Camera(plant.scene, name, *SIZE) for name in plant.scene.cameras]
    rate = FRAMES_A_TICK / task.period
    # VP9 in MP4: what OpenCV's wheel can write and browsers can play.
    size = (SIZE[1] * len(cameras), SIZE[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"vp09"), rate, size)
    if not writer.isOpened():
        raise Unavailable(f"cannot write {path}: this OpenCV has no VP9 encoder")
    try:
        for number, seed in enumerate(seeds):
            for picture, note in _episode(plant, task, robot, policy, seed, cameras):
                text = f"{task.name} on {robot.name}, episode {number + 1} of {len(seeds)}: {note}"
                cv2.putText(
                    picture,
                    text,
                    (10, 22),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.5,
                    (30, 30, 30),
                    1,
                    cv2.LINE_AA,
                )
                writer.write(picture)
    finally:
        writer.release()
        for camera in cameras:
            camera.close()
        plant.close()
    return path


def _episode(
    plant: TwinPlant, task: Task, robot: Robot, policy: Policy, seed: int, cameras: list[Camera]
):
    """Yields (BGR picture, note)."""
    spec, commander = observe.spec_of(task), Commander(task, robot)
    plant.reset(seed)
    samples = plant.read()
    reset_pose = samples["tool_pose"].value
    terms = observe.observe(reset_pose, samples)
    note = ""
    for tick in range(task.steps):
        action = policy.act(observe.pack(spec, terms), None)
        measured, commanded = samples["tool_pose"].value, samples["reference"].value
        reference = commander.reference(action[:6], measured, commanded)
        plant.follow(Command(plant.now, reference, float(gripper_target(action, task.gripper))))
        for _ in range(FRAMES_A_TICK):
            plant.advance(task.period / FRAMES_A_TICK)
            note = f"{(tick + 1) * task.period:.1f} s"
            yield _picture(plant, cameras), note
        samples = plant.read()
        terms = observe.observe(reset_pose, samples)
        if bool(task.succeeded(task.options, terms)):
            note += ", success"
            break
    else:
        note += ", not done"
    for _ in range(REST):
        yield _picture(plant, cameras), note


def _picture(plant: TwinPlant, cameras: list[Camera]) -> np.ndarray:
    data = plant.data
    return np.ascontiguousarray(np.hstack([camera.render(data) for camera in cameras])[:, :, ::-1])
