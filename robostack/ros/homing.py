"""The way to a start pose where no simulator puts the arm there: lift, over, down. It passes the guard too."""

import numpy as np

from robostack.core import clock, lie
from robostack.core.errors import PlantFault
from robostack.core.plant import Plant
from robostack.core.types import Command

LIFT = 0.05  # m above the higher of the two ends
SPEED = 0.08  # m/s
TURN_SPEED = 0.4  # rad/s
NEAR, NEAR_TURN = 0.004, 0.03  # m, rad; counts as there. GUESS, not measured
SETTLE_S = 5.0  # s that the arm may take to come near after the last command


def way(start: np.ndarray, goal: np.ndarray, period: float) -> list[np.ndarray]:
    """Poses (7,), base frame, one a period: straight up, across with the turn, straight down."""
    top = max(start[2], goal[2]) + LIFT
    above_start = np.concatenate([start[:2], [top], start[3:]])
    above_goal = np.concatenate([goal[:2], [top], goal[3:]])
    poses: list[np.ndarray] = []
    for a, b in ((start, above_start), (above_start, above_goal), (above_goal, goal)):
        turn = lie.so3_log(lie.quat_multiply(b[3:], lie.quat_conjugate(a[3:])))
        length, angle = np.linalg.norm(b[:3] - a[:3]), np.linalg.norm(turn)
        count = int(np.ceil(max(length / SPEED, angle / TURN_SPEED) / period))
        for part in np.arange(1, count + 1) / max(count, 1):
            quat = lie.quat_multiply(lie.so3_exp(part * turn), a[3:])
            poses.append(lie.pose(a[:3] + part * (b[:3] - a[:3]), quat))
    return poses


def go(plant: Plant, goal: np.ndarray, period: float) -> None:
    """Drives the tool to `goal` (7,), base frame. Raises PlantFault when the guard holds or the arm does not come."""
    samples = plant.read()
    opening = float(np.clip(samples["gripper"].value[0], 0.0, 1.0))
    ticker = clock.Ticker(None if plant.is_lockstep else period)
    ticker.start()
    ticker.wait()
    poses = way(samples["tool_pose"].value, goal, period)
    for pose in poses + [goal] * int(SETTLE_S / period):
        plant.send(Command(plant.now, pose, opening))
        ticker.wait()
        samples = plant.read()
        reason = str(samples["guard"].value) if "guard" in samples else ""
        if reason.startswith("hold"):
            raise PlantFault(f"the way to the start pose ended: {reason}")
        left = lie.log(lie.between(samples["tool_pose"].value, goal))
        is_there = np.linalg.norm(left[:3]) < NEAR and np.linalg.norm(left[3:]) < NEAR_TURN
        if pose is goal and is_there:
            return
    raise PlantFault(
        f"the tool stands {np.linalg.norm(left[:3]) * 1e3:.0f} mm and {np.linalg.norm(left[3:]):.2f} rad "
        f"from its start pose after {SETTLE_S:.0f} s; is something in the way?"
    )
