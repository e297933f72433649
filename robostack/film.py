"""Short films of a policy in the mirror, for people to look at."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from robostack.core.errors import Unavailable
from robostack.core.guard import Guard
from robostack.core.loop import Loop, Policy
from robostack.core.plant import GuardedPlant
from robostack.core.robot import Robot
from robostack.core.spec import View
from robostack.core.task import Task
from robostack.twin.plant import TwinPlant
from robostack.twin.render import Camera

SIZE = (360, 480)  # height, width of one picture, px
LOOKS = 2  # pictures a control period, so that motion between two decisions is seen
REST = 6  # pictures that a finished episode stays


def film(
    path: Path,
    task: Task,
    robot: Robot,
    make_policy: Callable[[], Policy],
    seeds: list[int],
    noise: bool = True,
    views: tuple[View, ...] = (),
) -> Path:
    """Plays an episode for each seed, guarded as ever, and writes them one after another, seen by all cameras.

    `make_policy` is called for each, since an expert remembers; `views` is what the policy looks through. Raises
    Unavailable where nothing can be written.
    """
    twin = TwinPlant(task, robot, noise=noise, looks=LOOKS)
    cameras = [Camera(twin.scene, name, *SIZE) for name in twin.scene.cameras]
    size = (SIZE[1] * len(cameras), SIZE[0])
    # VP9 in MP4: what OpenCV's wheel can write and browsers can play.
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"vp09"), LOOKS / task.period, size)
    try:
        if not writer.isOpened():
            raise Unavailable(
                f"cannot write {path}: no such folder, or this OpenCV has no VP9 encoder"
            )
        loop = Loop(GuardedPlant(twin, Guard(robot.safety, task.period)), task, robot, views=views)
        twin.look_through([view.name for view in views])
        for number, seed in enumerate(seeds):
            title = f"{task.name} on {robot.name}, episode {number + 1} of {len(seeds)}"

            def shoot(note: str = "", title: str = title) -> None:
                writer.write(_picture(twin, cameras, f"{title}: {twin.now:.1f} s{note}"))

            twin.on_move = shoot
            episode = loop.run(make_policy(), "evaluation", number, seed)
            for _ in range(REST):
                shoot(", success" if episode.is_success else ", not done")
    finally:
        writer.release()
        for camera in cameras:
            camera.close()
        twin.close()
    return path


def _picture(twin: TwinPlant, cameras: list[Camera], text: str) -> np.ndarray:
    """All cameras side by side, (H, W, 3) BGR, with a line of text."""
    data = twin.data
    side_by_side = np.hstack([camera.render(data) for camera in cameras])
    picture = np.ascontiguousarray(side_by_side[:, :, ::-1])
    cv2.putText(
        picture, text, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA
    )
    return picture
