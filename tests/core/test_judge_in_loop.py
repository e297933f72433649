"""A judge in place of geometry: asked once a step, in order, with what was seen, and it ends the episode."""

import numpy as np
import pytest

from robostack.core import catalog, lie
from robostack.core.errors import BadValue
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.success import IN_BASE
from robostack.core.types import Sample

TASK, ROBOT = catalog.task("reach"), catalog.robot("fr3")


class Cell(MockPlant):
    """A mock cell with one eye."""

    def read(self):
        rng = np.random.default_rng(round(self.now * 1e3))
        picture = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        return {**super().read(), "eye": Sample(self.now, picture)}


class Counting:
    """Says "done" at the third question of each episode, and keeps what it was asked."""

    def __init__(self):
        self.cameras = {"eye": (6, 8)}
        self.begun, self.asked = 0, []

    def begin(self):
        self.begun += 1
        self.count = 0

    def is_done(self, terms, pictures):
        self.count += 1
        self.asked.append((terms, pictures))
        return self.count == 3


def loop(judge=None) -> Loop:
    person = ScriptedPerson(lambda: TASK.expert(TASK.options), Style(noise=0.0))
    plant = GuardedPlant(Cell(TASK), Guard(ROBOT.safety, TASK.period))
    return Loop(plant, TASK, ROBOT, person, judge=judge)


def test_an_episode_ends_when_the_judge_says_so_and_not_when_geometry_does():
    judge, still = Counting(), StillPolicy(7)
    judged = loop(judge)
    played = [judged.run(still, "demonstration", i, i) for i in range(2)]
    assert judge.begun == 2 and len(judge.asked) == 6
    for episode in played:
        assert episode.is_success and len(episode.steps) == 3
        assert [step.reward for step in episode.steps] == [0.0, 0.0, 1.0]
    by_geometry = loop().run(still, "demonstration", 0, 0)
    assert by_geometry.is_success and len(by_geometry.steps) > 3


def test_the_judge_sees_what_the_next_step_starts_from():
    judge = Counting()
    episode = loop(judge).run(StillPolicy(7), "demonstration", 0, 0)
    for t, (terms, pictures) in enumerate(judge.asked, 1):
        np.testing.assert_array_equal(pictures["eye"], episode.pictures["eye"][t])
        start = np.array(episode.header.drawn["start"])
        place = lie.compose(
            start, lie.pose(terms["tool_pose"][:3], lie.so3_exp(terms["tool_pose"][3:]))
        )
        np.testing.assert_allclose(terms[IN_BASE][:3], place[:3], atol=1e-6)
        assert "target_error" in terms


def test_what_a_judge_cannot_judge_ends_the_episode_with_its_reason():
    class Blind(Counting):
        def is_done(self, terms, pictures):
            raise BadValue("a picture of eye that is missing")

    with pytest.raises(BadValue, match="eye that is missing"):
        loop(Blind()).run(StillPolicy(7), "demonstration", 0, 0)
