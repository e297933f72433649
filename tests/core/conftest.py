"""A robot and a task as small as they come: reach a pose above a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from robostack.core import lie
from robostack.core.robot import Impedance, Joint, Robot, SafetyLimits
from robostack.core.task import Setup, Task, Terms

LIMITS = SafetyLimits(
    workspace_lower=(0.2, -0.4, 0.05),
    workspace_upper=(0.8, 0.4, 0.6),
    linear_speed=0.25,
    angular_speed=1.0,
    linear_acceleration=2.0,
    angular_acceleration=8.0,
    force=40.0,
    torque=5.0,
)


@dataclass(frozen=True)
class Options:
    reach: float = 0.05  # m, how far targets lie from the start


class Straight:
    """Goes straight to the target."""

    def act(self, terms: Terms) -> np.ndarray:
        return np.clip(terms["target_error"] / np.repeat([0.015, 0.05], 3), -1.0, 1.0)


def draw(options: Options, rng: np.random.Generator) -> Setup:
    start = lie.pose([0.5, 0.0, 0.3], lie.so3_exp(rng.normal(0.0, 0.1, 3)))
    step = np.concatenate([options.reach * rng.uniform(-1, 1, 3), np.zeros(3)])
    target = lie.compose(start, lie.exp(step))
    return Setup(start, target, target)


def succeeded(options: Options, terms: Terms) -> np.ndarray:
    del options
    return np.linalg.norm(terms["target_error"][..., :3], axis=-1) < 0.005


@pytest.fixture(scope="session")
def robot() -> Robot:
    return Robot(
        name="arm",
        title="an arm for tests",
        base_frame="base",
        tool_frame="tool",
        joints=(Joint("joint1", -1.0, 1.0, 1.0, 10.0, 0.0),),
        impedance=Impedance((1000.0,) * 6, (50.0,) * 6),
        reference_limits={
            "compliant": (0.01, 0.01, 0.01, 0.1, 0.1, 0.1),
            "precise": (0.03, 0.03, 0.03, 0.3, 0.3, 0.3),
        },
        safety=LIMITS,
        model=Path("none.xml"),
        sources={},
    )


@pytest.fixture(scope="session")
def task() -> Task:
    return Task(
        name="touch",
        title="the tool is within 5 mm of the target",
        scene=Path("none.xml"),
        options=Options(),
        draw=draw,
        succeeded=succeeded,
        expert=lambda options: Straight(),
        steps=20,
    )
