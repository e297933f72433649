"""Bring the tool to a point. Learned in a minute: for tests and quick looks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robostack.core import lie
from robostack.core.errors import BadValue
from robostack.core.task import Setup, Task, Terms

MIDDLE = np.array([0.5, 0.0, 0.25])  # m, base frame
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # wxyz


@dataclass(frozen=True)
class Options:
    """m."""

    spread: float = 0.06  # start and target lie this far from the middle, per axis
    tolerance: float = 0.01  # distance that counts as there

    def __post_init__(self):
        if not 0.0 < self.spread <= 0.12:
            raise BadValue(f"reach: spread {self.spread} m, expected 0 to 0.12 m")
        if not 0.002 <= self.tolerance <= 0.05:
            raise BadValue(f"reach: tolerance {self.tolerance} m, expected 0.002 to 0.05 m")


def draw(options: Options, rng: np.random.Generator) -> Setup:
    """Start and target, independent of each other."""
    start, target = MIDDLE + rng.uniform(-options.spread, options.spread, (2, 3))
    return Setup(lie.pose(start, DOWN), lie.pose(target, DOWN), lie.pose(target, DOWN))


def succeeded(options: Options, terms: Terms) -> np.ndarray:
    """Within the tolerance of the point."""
    return np.linalg.norm(terms["target_error"][..., :3], axis=-1) < options.tolerance


class ReachExpert:
    """Straight there, gripper open."""

    def __init__(self, options: Options):
        del options

    def act(self, terms: Terms) -> np.ndarray:
        left = terms["target_error"]
        arm = np.concatenate([left[:3] / TASK.translation_scale, left[3:] / TASK.rotation_scale])
        return np.clip(np.append(arm, 1.0), -1.0, 1.0)


TASK = Task(
    name="reach",
    title="the tool is within 10 mm of the point",
    scene=Path(__file__).parent / "scene.xml",
    options=Options(),
    draw=draw,
    succeeded=succeeded,
    expert=ReachExpert,
    steps=50,
    translation_scale=0.02,
    reference="commanded",
    axes=("precise",) * 6,
    gripper=True,
    target_scale=(0.01, 0.1),
)
