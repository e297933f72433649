"""Cameras that show nothing and numbers that are none: named, counted, and kept out of training."""

from dataclasses import replace

import numpy as np
import pytest

from robostack.core.spec import Spec, Term
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.store import blind

SPEC = Spec(
    (Term("tool_pose", 6, "m, rad", "tool at reset", (0.05,) * 3 + (0.2,) * 3),),
    (Term("u", 2, "m", "tool", (1.0,) * 2),),
    0.1,
)
STEPS = 12


def episode(speed: float = 0.004) -> Episode:
    """Two cameras with noise, an arm at `speed` m a step."""
    rng = np.random.default_rng(0)
    frames = np.zeros((STEPS + 1, 6), np.float32)
    frames[:, 1] = speed * np.arange(STEPS + 1) / 0.05
    steps = tuple(
        Step(
            frames[i], np.zeros(2), np.zeros(2), Who.POLICY, 0.0, False, False, 0, 0.1 * i, 0.0, 0.0
        )
        for i in range(STEPS)
    )
    header = EpisodeHeader(4, "practice", "r", "t", "mock", 4, SPEC.digest, "0")
    sizes = {"wrist_camera": (6, 8), "front_camera": (4, 4)}
    pictures = {
        name: rng.integers(0, 256, (STEPS + 1, *size, 3), dtype=np.uint8)
        for name, size in sizes.items()
    }
    return Episode(header, frames, steps, pictures)


def test_a_good_episode_has_no_fault():
    assert blind.faults(SPEC, episode()) == []


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (10, 200, 30)])
def test_a_picture_of_one_colour_spoils_the_step_before_it_and_the_one_it_begins(colour):
    hurt = episode()
    hurt.pictures["wrist_camera"][3:6] = colour
    [fault] = blind.faults(SPEC, hurt)
    assert fault.steps.nonzero()[0].tolist() == [2, 3, 4, 5]
    assert blind.told(hurt, [fault]) == (
        "episode 4: wrist_camera showed one colour in 3 frames from step 3 on: "
        "4 of its 12 steps are kept out of training"
    )


def test_one_pixel_that_differs_is_a_picture():
    hurt = episode()
    hurt.pictures["wrist_camera"][3] = 7
    hurt.pictures["wrist_camera"][3, 2, 2, 1] = 8
    assert blind.faults(SPEC, hurt) == []


def test_a_camera_that_stands_still_while_the_arm_moves_is_named_from_its_second_picture_on():
    hurt = episode()
    hurt.pictures["front_camera"][4:9] = hurt.pictures["front_camera"][4]
    [fault] = blind.faults(SPEC, hurt)
    assert "front_camera showed the same picture while the arm moved" in blind.told(hurt, [fault])
    assert (fault.first, fault.count) == (5, 4)
    assert fault.steps.nonzero()[0].tolist() == [4, 5, 6, 7, 8]


def test_a_black_camera_is_told_of_once():
    hurt = episode()
    hurt.pictures["front_camera"][:] = 0
    [fault] = blind.faults(SPEC, hurt)
    assert fault.what == "front_camera showed one colour" and fault.steps.all()


@pytest.mark.parametrize(("speed", "pictures"), [(0.0, 9), (0.001, 9), (0.004, blind.FROZEN - 1)])
def test_an_arm_that_stands_or_a_short_pause_is_no_fault(speed, pictures):
    """The mirror's pictures have no noise: of an arm that stands they are all equal."""
    hurt = episode(speed)
    hurt.pictures["front_camera"][2 : 2 + pictures] = hurt.pictures["front_camera"][2]
    assert blind.faults(SPEC, hurt) == []


def test_without_the_tools_pose_nothing_is_called_frozen():
    hurt = episode()
    hurt.pictures["front_camera"][:] = hurt.pictures["front_camera"][0]
    term = replace(SPEC.observation[0], name="x")
    assert blind.faults(replace(SPEC, observation=(term,)), hurt) == []


def test_numbers_that_are_not_finite_spoil_the_steps_that_touch_them():
    hurt = episode()
    hurt.observations[7, 2] = np.inf
    steps = list(hurt.steps)
    steps[1] = replace(steps[1], action=np.array([0.0, np.nan]))
    steps[2] = replace(steps[2], reward=np.nan)
    hurt = replace(hurt, steps=tuple(steps))
    found = blind.faults(SPEC, hurt)
    assert blind.bad_steps(found, STEPS).nonzero()[0].tolist() == [1, 2, 6, 7]
    assert blind.told(hurt, found) == (
        "episode 4: observation was not finite in 1 frame from step 7 on; "
        "action was not finite in 1 frame from step 1 on; "
        "reward was not finite in 1 frame from step 2 on: 4 of its 12 steps are kept out of training"
    )


def test_an_episode_without_steps_has_no_fault():
    whole = episode()
    pictures = {name: values[:1] for name, values in whole.pictures.items()}
    assert (
        blind.faults(
            SPEC, replace(whole, observations=whole.observations[:1], steps=(), pictures=pictures)
        )
        == []
    )
