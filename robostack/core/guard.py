"""The guard: every command passes it, on every plant. Command or hold, and the reason.

It limits what is too far or too fast, and holds when it must not trust the command or the cell. A latched stop stays
until a person clears it; the guard never clears one itself. Not a safety-rated stop: the robot's own limits and
the hardware emergency stop are.
"""

from dataclasses import dataclass, replace

import numpy as np

from robostack.core import lie
from robostack.core.robot import SafetyLimits
from robostack.core.types import Command, Samples


@dataclass(frozen=True)
class Verdict:
    """What may be sent, and why it is not what was asked (empty when it is)."""

    command: Command
    reason: str = ""
    is_hold: bool = False


class Guard:
    """Owns the last reference and its velocity, and the latched stop."""

    def __init__(self, limits: SafetyLimits, period: float):
        self.limits = limits
        self._period = period  # s between commands
        self._last: np.ndarray | None = None
        self._velocity = np.zeros(6)  # of the reference, base frame, m/s and rad/s
        self._stop = ""

    def reset(self) -> None:
        """Forgets the motion so far: the arm was moved by other means. A latched stop stays."""
        self._last = None
        self._velocity = np.zeros(6)

    def stop(self, reason: str) -> None:
        """Latches a stop; the first reason stays."""
        self._stop = self._stop or reason

    def clear_stop(self) -> None:
        """For a person to call, never for a program."""
        self._stop = ""
        self.reset()

    @property
    def stop_reason(self) -> str:
        return self._stop

    def check(
        self, command: Command, samples: Samples, now: float, period: float | None = None
    ) -> Verdict:
        """Judges one new command against the newest samples; `now` is the plant's clock, s.

        `period`: s since the command before, where it is not the guard's own.
        """
        if reason := self._reason_to_hold(command, samples, now):
            return self.hold(command, samples, f"hold: {reason}")
        last = self._last if self._last is not None else samples["tool_pose"].value
        reference, reasons = self._limit(last, command.reference, period or self._period)
        self._last = reference
        return Verdict(replace(command, reference=reference), "; ".join(reasons))

    def hold(self, command: Command, samples: Samples, reason: str) -> Verdict:
        """Stay where the tool is measured: the spring relaxes, so force falls. Without a measurement, the last reference."""
        measured = samples.get("tool_pose")
        place = measured.value if measured is not None and np.isfinite(measured.value).all() else self._last
        self.reset()
        self._last = None if place is None else np.array(place)
        held = replace(command, reference=self._last if self._last is not None else command.reference)
        return Verdict(held, reason, is_hold=True)

    def _reason_to_hold(self, command: Command, samples: Samples, now: float) -> str:
        limits = self.limits
        if self._stop:
            return f"stopped ({self._stop}); a person must clear it"
        if command.reference.shape != (7,) or not np.isfinite(command.reference).all():
            return "the command is not a finite pose"
        if abs(np.linalg.norm(command.reference[3:]) - 1.0) > 1e-3 or not 0.0 <= command.gripper <= 1.0:
            return "the command's quaternion is not of unit length or its gripper is outside 0..1"
        if (age := now - command.stamp) > limits.command_age:
            return f"command is {age * 1e3:.0f} ms old, limit {limits.command_age * 1e3:.0f} ms"
        return self.watch(samples, now)

    def watch(self, samples: Samples, now: float) -> str:
        """Why the cell must hold whatever is commanded; empty when it may move."""
        if self._stop:
            return f"stopped ({self._stop}); a person must clear it"
        for name in ("tool_pose", "wrench"):
            if (sample := samples.get(name)) is None or not np.isfinite(sample.value).all():
                return f"no finite {name}"
            if (age := now - sample.stamp) > self.limits.command_age:
                limit = self.limits.command_age
                return f"{name} is {age * 1e3:.0f} ms old, limit {limit * 1e3:.0f} ms"
        return self._reason_of_force(samples["wrench"].value)

    def _reason_of_force(self, wrench: np.ndarray) -> str:
        force, torque = np.linalg.norm(wrench[:3]), np.linalg.norm(wrench[3:])
        if force > self.limits.force:
            return f"force {force:.0f} N, limit {self.limits.force:.0f} N"
        if torque > self.limits.torque:
            return f"torque {torque:.1f} N m, limit {self.limits.torque:.1f} N m"
        return ""

    def _limit(
        self, last: np.ndarray, wanted: np.ndarray, period: float
    ) -> tuple[np.ndarray, list[str]]:
        """The nearest reference to `wanted` that respects acceleration, speed and, above both, the workspace."""
        limits, reasons = self.limits, []
        turn = lie.so3_log(lie.quat_multiply(wanted[3:], lie.quat_conjugate(last[3:])))  # base frame
        velocity = np.concatenate([wanted[:3] - last[:3], turn]) / period
        asked = velocity.copy()
        for half, acceleration, speed, name in (
            (slice(0, 3), limits.linear_acceleration, limits.linear_speed, ""),
            (slice(3, 6), limits.angular_acceleration, limits.angular_speed, "angular "),
        ):
            change = _shorten(velocity[half] - self._velocity[half], acceleration * period)
            limited = self._velocity[half] + change
            if not np.allclose(limited, velocity[half], atol=1e-9):
                reasons.append(f"limited: {name}acceleration")
            velocity[half] = _shorten(limited, speed)
            if not np.allclose(limited, velocity[half], atol=1e-9):
                reasons.append(f"limited: {name}speed")
        place = last[:3] + velocity[:3] * period
        inside = np.clip(place, limits.workspace_lower, limits.workspace_upper)
        if not np.allclose(inside, place, atol=1e-9):
            # From outside, come back no faster than the speed limit; from inside the box is a wall.
            place = last[:3] + _shorten(inside - last[:3], limits.linear_speed * period)
            velocity[:3] = (place - last[:3]) / period
            reasons.append("limited: workspace")
        self._velocity = velocity
        if np.array_equal(asked, velocity):
            return wanted, reasons
        quat = lie.quat_multiply(lie.so3_exp(velocity[3:] * period), last[3:])
        return lie.pose(place, lie.quat_normalize(quat)), reasons


def _shorten(v: np.ndarray, most: float) -> np.ndarray:
    """v, no longer than `most`."""
    length = float(np.linalg.norm(v))
    return v if length <= most else v * (most / length)
