"""The guard: every command passes it, on every plant. Command or hold, and the reason.

It limits what is too far or too fast, and holds when it must not trust the command or the cell. A latched stop stays
until a person clears it; the guard never clears one itself. Not a safety-rated stop: the robot's own limits and
the hardware emergency stop are.
"""

from dataclasses import dataclass, replace

import numpy as np

from robostack.core.limits import limit_motion
from robostack.core.robot import SafetyLimits
from robostack.core.types import Command, Samples

# The reference of a hold that knows no place to stay at: nothing may be sent.
NOWHERE = np.full(7, np.nan)


@dataclass(frozen=True)
class Verdict:
    """What may be sent, and why it is not what was asked (empty when it is)."""

    command: Command
    reason: str = ""
    is_hold: bool = False


class Guard:
    """Owns the last reference, its velocity and the gripper's opening, and the latched stop."""

    def __init__(self, limits: SafetyLimits, period: float):
        self.limits = limits
        self._period = period  # s between commands
        self._last: np.ndarray | None = None
        self._velocity = np.zeros(6)  # of the reference, base frame, m/s and rad/s
        self._opening: float | None = None
        self._stop = ""

    def reset(self) -> None:
        """Forgets the motion so far: the arm was moved by other means. A latched stop stays."""
        self._last, self._velocity, self._opening = None, np.zeros(6), None

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
            return self.hold(command, samples, f"hold: {reason}", now)
        last = self._last if self._last is not None else samples["tool_pose"].value
        moved = limit_motion(
            self.limits, last, self._velocity, command.reference, period or self._period
        )
        self._last, self._velocity, self._opening = moved.reference, moved.velocity, command.gripper
        reasons = [f"limited: {name}" for name, is_changed in moved.changed.items() if is_changed]
        return Verdict(replace(command, reference=moved.reference), "; ".join(reasons))

    def hold(
        self, command: Command, samples: Samples, reason: str, now: float = -np.inf
    ) -> Verdict:
        """Stay where the tool is measured: the spring relaxes, so force falls. The gripper stays as it is.

        Without a measurement (too old is none, where `now` is given): at the last reference. Without that
        either, the reference is NOWHERE.
        """
        oldest = now - self.limits.command_age
        if (place := _measured(samples, "tool_pose", oldest)) is not None:
            self._last = np.array(place)
        self._velocity = np.zeros(6)
        if self._opening is None:
            opening = _measured(samples, "gripper", oldest)
            first = command.gripper if opening is None else opening[0]
            self._opening = float(np.clip(np.nan_to_num(first), 0.0, 1.0))
        reference = NOWHERE if self._last is None else self._last
        return Verdict(Command(command.stamp, reference, self._opening), reason, is_hold=True)

    def _reason_to_hold(self, command: Command, samples: Samples, now: float) -> str:
        limits = self.limits
        if self._stop:
            return f"stopped ({self._stop}); a person must clear it"
        if command.reference.shape != (7,) or not np.isfinite(command.reference).all():
            return "the command is not a finite pose"
        if (
            abs(np.linalg.norm(command.reference[3:]) - 1.0) > 1e-3
            or not 0.0 <= command.gripper <= 1.0
        ):
            return "the command's quaternion is not of unit length or its gripper is outside 0..1"
        if not (age := now - command.stamp) <= limits.command_age:  # NaN is not fresh
            return f"command is {age * 1e3:.0f} ms old, limit {limits.command_age * 1e3:.0f} ms"
        return self.watch(samples, now)

    def watch(self, samples: Samples, now: float) -> str:
        """Why the cell must hold whatever is commanded; empty when it may move."""
        if self._stop:
            return f"stopped ({self._stop}); a person must clear it"
        for name in ("tool_pose", "wrench"):
            if (sample := samples.get(name)) is None or not np.isfinite(sample.value).all():
                return f"no finite {name}"
            if not (age := now - sample.stamp) <= self.limits.command_age:
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


def _measured(samples: Samples, name: str, oldest: float) -> np.ndarray | None:
    """The newest value, if there is one to go by: finite, and stamped `oldest` or later."""
    sample = samples.get(name)
    if sample is None or not sample.stamp >= oldest or not np.isfinite(sample.value).all():
        return None
    return sample.value
