"""A robot as facts: joints, limits, frames and how it is held by its impedance controller."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robostack.core.errors import BadValue


@dataclass(frozen=True)
class Joint:
    """One revolute joint. SI: rad, rad/s, N m. `home` is where an idle arm waits."""

    name: str
    lower: float
    upper: float
    velocity: float
    torque: float
    home: float

    def __post_init__(self):
        if not self.lower <= self.home <= self.upper:
            raise BadValue(
                f"joint {self.name}: home {self.home} rad lies outside [{self.lower}, {self.upper}] rad"
            )


@dataclass(frozen=True)
class Impedance:
    """Cartesian spring and damper between tool and reference, per axis x y z rx ry rz of the tool frame."""

    stiffness: tuple[float, ...]  # N/m (3), N m/rad (3)
    damping: tuple[float, ...]  # N s/m (3), N m s/rad (3)


@dataclass(frozen=True)
class SafetyLimits:
    """What the guard allows this robot; a task may only narrow it. Base frame, SI units."""

    workspace_lower: tuple[float, float, float]  # m
    workspace_upper: tuple[float, float, float]  # m
    linear_speed: float  # m/s
    angular_speed: float  # rad/s
    linear_acceleration: float  # m/s^2
    angular_acceleration: float  # rad/s^2
    force: float  # N, norm at the tool
    torque: float  # N m, norm at the tool
    command_age: float = 0.25  # s; older than this is silence, and silence holds


@dataclass(frozen=True)
class Robot:
    """Everything the rest of the stack knows about an arm. Tasks speak of roles, never of its joints.

    `model` is the arm's own MJCF. It names its joints as here, has gravity compensated in every link, and ends
    in a site `flange` (ISO 9787: z out of the flange). It holds no actuators: the twin adds the impedance.
    """

    name: str
    title: str
    base_frame: str
    tool_frame: str
    joints: tuple[Joint, ...]
    impedance: Impedance
    reference_limits: dict[
        str, tuple[float, ...]
    ]  # "compliant"/"precise": reference minus measured, m (3) rad (3)
    safety: SafetyLimits
    model: Path
    sources: dict[str, str]  # fact -> where it was published

    @property
    def home(self) -> np.ndarray:
        """Joint angles at home, (n,), rad."""
        return np.array([joint.home for joint in self.joints])
