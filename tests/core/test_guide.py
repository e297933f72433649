"""Jump-Start: when the guide's part shrinks, what it may do, and that all of it follows from the episodes."""

import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue
from robostack.core.guide import FEWEST, Curriculum, JumpStart, Starter
from robostack.core.interact import Seen
from robostack.core.rates import one_sided, wilson

CHOICES = JumpStart("expert", stages=5, episodes=10)
LIMIT = 50
EPISODES = st.lists(st.tuples(st.booleans(), st.integers(1, LIMIT)), max_size=150)
SEEN = Seen({}, {}, np.zeros(3, np.float32))


def played(episodes, choices=CHOICES) -> list[Curriculum]:
    found = [Curriculum()]
    for is_success, steps in episodes:
        found.append(found[-1].after(choices, is_success, steps, LIMIT))
    return found


def test_the_first_stage_is_the_guides_and_measures_it():
    episodes = [(i < 8, 20 + i) for i in range(10)]
    before, after = played(episodes)[-2:]
    assert before.stage == 0 and before.horizon(CHOICES, LIMIT) == LIMIT
    assert after.stage == 1 and after.length == 24  # half of its eight successes, 20 to 27 steps
    assert after.best == pytest.approx(wilson(8, 10, one_sided(0.9))[0])
    assert after.horizon(CHOICES, LIMIT) == 20  # four fifths of 24


def test_a_guide_that_never_succeeds_is_given_all_the_time_and_left_at_once():
    after = played([(False, LIMIT)] * 10)[-1]
    assert (after.length, after.best) == (LIMIT, 0.0)
    assert played([(False, LIMIT)] * (10 + FEWEST))[-1].stage == 2


@given(EPISODES)
def test_the_guides_part_never_grows_and_stages_come_one_by_one(episodes):
    found = played(episodes)
    for before, after in itertools.pairwise(found):
        assert after.stage - before.stage in (0, 1)
        assert after.horizon(CHOICES, LIMIT) <= before.horizon(CHOICES, LIMIT)
        assert after.best >= before.best
    last = found[-1]
    assert (last.horizon(CHOICES, LIMIT) == 0) == (last.stage == CHOICES.stages)


@given(EPISODES)
def test_a_stage_is_left_only_when_its_lower_bound_comes_near_the_best_one(episodes):
    found = played(episodes)
    for before, after, (is_success, _) in zip(found, found[1:], episodes, strict=False):
        if after.stage > before.stage > 0:
            results = (*before.results, is_success)[-CHOICES.episodes :]
            low = wilson(sum(results), len(results), one_sided(CHOICES.confidence))[0]
            assert len(results) >= FEWEST
            assert low >= (1 - CHOICES.tolerance) * before.best


@given(EPISODES)
def test_where_the_guides_part_stands_goes_through_json(episodes):
    last = played(episodes)[-1]
    data = json.loads(json.dumps(asdict(last)))
    for name in ("results", "lengths"):
        data[name] = tuple(data[name])
    assert Curriculum(**data) == last


def test_failures_keep_the_guide_and_the_same_success_lets_it_go():
    good = played([(True, 20)] * 10)[-1]
    still = good
    for _ in range(60):
        still = still.after(CHOICES, False, LIMIT, LIMIT)
    assert still.stage == 1
    for _ in range(10):
        still = still.after(CHOICES, True, 20, LIMIT)
    assert still.stage == 2


def test_with_the_same_success_as_the_guide_every_stage_is_left():
    rng, at = np.random.default_rng(0), Curriculum()
    for _ in range(600):
        at = at.after(CHOICES, bool(rng.random() < 0.75), 20, LIMIT)
    assert at.stage == CHOICES.stages


def test_the_last_stage_forgets_nothing_and_learns_nothing():
    done = Curriculum(stage=5, length=20, best=0.7)
    assert done.after(CHOICES, False, 50, LIMIT) == done


def starter(noise=0.0, stages=5) -> Starter:
    return Starter(lambda: lambda seen: np.full(2, 0.5), JumpStart("x", noise, stages), 4)


def acts(guide: Starter, kind: str, seed=0, ticks=6) -> list:
    guide.begin(kind, seed)
    return [guide.act(SEEN) for _ in range(ticks)]


def test_the_guide_acts_first_and_then_leaves_it_to_the_policy():
    guide = starter()
    guide.curriculum = Curriculum(stage=1, length=4)
    assert [a is not None for a in acts(guide, "practice")] == [True] * 4 + [False] * 2
    guide.curriculum = Curriculum(stage=4, length=4)
    assert [a is not None for a in acts(guide, "practice")] == [True] + [False] * 5


@pytest.mark.parametrize("kind", ["demonstration", "fill", "solo", "validation", "evaluation"])
def test_only_practice_is_guided(kind):
    guide = starter()
    assert acts(guide, kind) == [None] * 6
    guide.end(kind, True, 0, 3)
    assert guide.curriculum == Curriculum()


def test_a_noisy_guide_repeats_by_seed_and_stays_in_range():
    guide = starter(noise=1.0)
    first, again, other = (acts(guide, "practice", seed)[:4] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.abs(first).max() <= 1.0 and np.std(first) > 0.1


def test_what_needed_the_persons_help_is_no_success():
    guide = starter()
    for _ in range(20):
        guide.end("practice", True, 3, 4)
    assert guide.curriculum.stage == 1 and guide.curriculum.best == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("noise", -0.1), ("stages", 0), ("episodes", 4), ("tolerance", 1.0), ("confidence", 0.4)],
)
def test_choices_that_make_no_sense_are_one_line(name, value):
    with pytest.raises(BadValue, match=rf"jump_start\.{name} is {value}, expected"):
        JumpStart(**{name: value})
