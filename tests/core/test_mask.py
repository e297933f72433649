"""Action masking: the box around a guide's actions, how it opens, and what of an episode it touches."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue
from robostack.core.guard import Guard
from robostack.core.interact import Seen
from robostack.core.loop import Loop, StillPolicy
from robostack.core.mask import GUIDED, OPEN, Mask, Masker, boxed
from robostack.core.operator import Nobody
from robostack.core.plant import GuardedPlant, MockPlant

actions = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(np.array)
widths = st.floats(0.01, OPEN)
ARM = np.arange(6)


@given(actions, actions, widths)
def test_every_output_stands_for_an_action_near_the_guides_and_within_reach(unit, guide, width):
    action = boxed(unit, guide, width)
    assert (np.abs(action - guide) <= width + 1e-9).all()
    assert (np.abs(action) <= 1.0 + 1e-9).all()


@given(actions, widths)
def test_outputs_reach_both_sides_of_the_box(guide, width):
    low, high = boxed(-np.ones(3), guide, width), boxed(np.ones(3), guide, width)
    assert low == pytest.approx(np.maximum(guide - width, -1.0))
    assert high == pytest.approx(np.minimum(guide + width, 1.0))


@given(actions, actions)
def test_an_open_box_holds_nothing_back(unit, guide):
    assert boxed(unit, guide, OPEN) == pytest.approx(unit, abs=1e-12)


def test_learner_and_actor_mean_the_same_by_an_output_and_the_gradient_flows():
    unit, guide = np.array([-0.4, 0.9]), np.array([0.3, -0.95])
    width = jnp.asarray(0.2)
    ours = jax.jit(boxed)(jnp.asarray(unit), jnp.asarray(guide), width)
    assert np.asarray(ours) == pytest.approx(boxed(unit, guide, 0.2), abs=1e-6)
    slope = jax.grad(lambda u: jnp.sum(boxed(u, jnp.asarray(guide), width)))(jnp.asarray(unit))
    # Half of what there is from one side to the other; the second box is cut off at -1.
    assert np.asarray(slope) == pytest.approx([0.2, 0.125], abs=1e-6)


@given(st.floats(0.01, 1.9), st.floats(0.01, 0.9), st.floats(0, 1), st.floats(0, 1))
def test_the_box_only_grows_and_is_open_in_time(width, open_by, first, second):
    mask = Mask("expert", width, open_by)
    early, late = sorted((first, second))
    assert width <= mask.at(early) <= mask.at(late) <= OPEN
    assert mask.at(0.0) == width and mask.at(open_by) == OPEN
    assert Mask("", width, open_by).at(early) == OPEN


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0.0), ("width", 2.0), ("open_by", 0.0), ("open_by", 0.95)]
)
def test_impossible_choices_are_refused(name, value):
    with pytest.raises(BadValue, match=rf"mask\.{name} is {value}, expected more than 0"):
        Mask(**{name: value})


@dataclass
class Wild:
    """A policy that does anything, in a mask of this width."""

    width: float
    version: int = 1

    def act(self, observation, rng, pictures=None):
        rng = rng or np.random.default_rng(len(observation))
        return rng.uniform(-1.5, 1.5, 6)


def played(task, robot, kind: str, policy: Any, operator=None, arm=ARM):
    guide = np.linspace(-0.9, 0.9, 6)
    mask = Masker(lambda: lambda seen: guide, arm)
    plant = GuardedPlant(MockPlant(task), Guard(robot.safety, task.period))
    loop = Loop(plant, task, robot, operator, mask=mask)
    return loop.run(policy, kind, 0, 3), guide


def test_practice_stays_in_the_box_and_says_what_the_guide_would_have_done(task, robot):
    episode, guide = played(task, robot, "practice", Wild(0.2))
    asked = np.stack([step.action_policy for step in episode.steps])
    assert (np.abs(asked - guide) <= 0.2 + 1e-9).all() and np.ptp(asked, 0).max() > 0.2
    assert all(np.array_equal(np.asarray(step.guide), guide) for step in episode.steps)


@pytest.mark.parametrize("kind", ["solo", "validation", "evaluation", "demonstration"])
def test_what_is_checked_acts_without_a_mask(task, robot, kind):
    episode, guide = played(task, robot, kind, Wild(0.2))
    asked = np.stack([step.action_policy for step in episode.steps])
    assert np.abs(asked - guide).max() > 0.5
    assert all((step.guide is not None) == (kind in GUIDED) for step in episode.steps)


def test_an_open_mask_and_a_policy_without_one_are_left_alone(task, robot):
    opened, _ = played(task, robot, "practice", Wild(OPEN))
    plain, _ = played(task, robot, "practice", StillPolicy(6))
    assert np.abs([step.action_policy for step in opened.steps]).max() == 1.0
    assert not np.any([step.action_policy for step in plain.steps])


def test_entries_that_are_not_the_arms_are_free(task, robot):
    episode, guide = played(task, robot, "practice", Wild(0.1), arm=ARM[:4])
    far = np.abs(np.stack([step.action_policy for step in episode.steps]) - guide).max(0)
    assert (far[:4] <= 0.1 + 1e-9).all() and (far[4:] > 0.5).all()


def test_the_person_is_not_masked(task, robot):
    class Hand(Nobody):
        def act(self, terms):
            return np.full(6, 0.5)

    slow = Wild(0.01)
    helped, guide = played(task, robot, "practice", slow, Hand())
    masked, _ = played(task, robot, "practice", slow)
    assert helped.person_share == 1.0
    # As far as limits let it: elsewhere than the mask does.
    far = np.abs(helped.observations[-1] - masked.observations[-1]).max()
    assert np.abs([step.action - guide for step in helped.steps]).max() > 0.3 and far > 0.1


def test_a_guide_is_made_anew_for_each_episode_and_never_asks_for_too_much():
    made: list[int] = []

    def source():
        made.append(1)
        return lambda seen: np.array([3.0, -0.5])

    mask, seen = Masker(source, np.arange(2)), Seen({}, {}, np.zeros(1))
    for _ in range(2):
        mask.begin("practice")
        assert np.array_equal(np.asarray(mask.guide(seen)), [1.0, -0.5])
    assert len(made) == 2
    mask.begin("evaluation")
    assert mask.guide(seen) is None and len(made) == 2
