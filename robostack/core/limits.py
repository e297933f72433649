"""How far a reference may move in one period: the guard's arithmetic, for one arm or a batch."""

from typing import NamedTuple

import numpy as np

from robostack.core import lie
from robostack.core.robot import SafetyLimits

SLACK = 1e-9  # relative, and m; what is over a limit by less is rounding


class Limited(NamedTuple):
    """A reference that may be sent, its velocity, and which limits changed it."""

    reference: np.ndarray  # (..., 7), base frame
    velocity: np.ndarray  # (..., 6) m/s and rad/s, base frame
    changed: dict[str, np.ndarray]  # limit -> (...) bool


def limit_motion(
    limits: SafetyLimits, last: np.ndarray, velocity: np.ndarray, wanted: np.ndarray, period: float
) -> Limited:
    """The nearest reference to `wanted` that respects acceleration, speed and, above both, the workspace.

    `last` (..., 7) is the reference before and `velocity` (..., 6) how it came there. What is within the limits
    comes back bit for bit.
    """
    turn = lie.so3_log(lie.quat_multiply(wanted[..., 3:], lie.quat_conjugate(last[..., 3:])))
    asked = np.concatenate([wanted[..., :3] - last[..., :3], turn], -1) / period
    halves, changed = [], {}
    for half, name, acceleration, speed in (
        (slice(0, 3), "", limits.linear_acceleration, limits.linear_speed),
        (slice(3, 6), "angular ", limits.angular_acceleration, limits.angular_speed),
    ):
        before = velocity[..., half]
        change, is_sudden = _shortened(asked[..., half] - before, acceleration * period)
        part = np.where(is_sudden, before + change, asked[..., half])
        part, is_fast = _shortened(part, speed)
        halves.append(part)
        changed[f"{name}acceleration"], changed[f"{name}speed"] = is_sudden[..., 0], is_fast[..., 0]
    place = last[..., :3] + halves[0] * period
    inside = np.clip(place, limits.workspace_lower, limits.workspace_upper)
    is_outside = np.abs(inside - place).max(-1, keepdims=True) > SLACK
    # From outside, come back no faster than the speed limit; from inside the box is a wall.
    back, _ = _shortened(inside - last[..., :3], limits.linear_speed * period)
    linear = np.where(is_outside, back / period, halves[0])
    changed["workspace"] = is_outside[..., 0]
    allowed = np.concatenate([linear, halves[1]], -1)
    is_changed = np.any(list(changed.values()), 0)
    if not is_changed.any():
        return Limited(wanted, allowed, changed)
    quat = lie.quat_multiply(lie.so3_exp(halves[1] * period), last[..., 3:])
    moved = lie.pose(last[..., :3] + linear * period, lie.quat_normalize(quat))
    return Limited(np.where(is_changed[..., None], moved, wanted), allowed, changed)


def _shortened(v: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """v (..., k) no longer than `most`, and whether it was (..., 1)."""
    length = np.sqrt(np.sum(v * v, -1, keepdims=True))
    is_long = length > most * (1 + SLACK)
    return np.where(is_long, v * (most / np.maximum(length, 1e-300)), v), is_long
