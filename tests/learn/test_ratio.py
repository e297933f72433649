"""The ratio of learner steps to control steps: who chooses, and the guard that has the last word."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue, UnknownName
from robostack.learn.ratio import Chooser, Ratio

RULE, BANDIT = Ratio("rule", span=3), Ratio("bandit", span=3)
EPISODES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 400), st.none() | st.floats(0.0, 1.0)), max_size=60
)


def played(choices, episodes) -> list[Chooser]:
    found = [Chooser()]
    for is_success, updates, error in episodes:
        found.append(found[-1].after(choices, is_success, updates, error))
    return found


@given(EPISODES, st.sampled_from([RULE, BANDIT]))
def test_a_risen_held_out_error_forces_the_lowest_ratio_at_once(episodes, choices):
    for now in played(choices, episodes)[1:]:
        if now.error > now.lowest * (1 + choices.margin):
            assert now.ratio(choices) == choices.arms[0]


@given(EPISODES)
def test_the_rule_climbs_one_ratio_after_each_span_and_falls_only_to_the_lowest(episodes):
    found = played(RULE, episodes)
    for before, after in zip(found, found[1:], strict=False):  # noqa: RUF007
        assert after.arm in (before.arm, min(3, before.arm + 1), 0)
        if after.arm > before.arm:
            assert before.since == RULE.span - 1


def test_with_an_error_that_falls_the_rule_reaches_the_highest_ratio():
    episodes = [(True, 50, 1.0 / (i + 1)) for i in range(20)]
    assert played(RULE, episodes)[-1].ratio(RULE) == 8.0


def test_the_bandit_tries_every_ratio_and_comes_back_to_what_paid():
    at = Chooser()
    for _ in range(300):
        # Only with two updates a step success grows; else it stays as it is.
        pays = BANDIT.arms[at.arm] == 2.0
        at = at.after(BANDIT, pays or at.success > 0.5, 100, 0.1)
    assert all(n > 0 for n in at.trials)


def test_updates_are_the_price():
    """The same success from four times the updates is a fourth of the gain."""
    cheap = played(BANDIT, [(True, 100, 0.1)] * 3)[-1]
    dear = played(BANDIT, [(True, 400, 0.1)] * 3)[-1]
    assert cheap.gains[0] == pytest.approx(4 * dear.gains[0])


@given(EPISODES, st.sampled_from([RULE, BANDIT]))
def test_where_the_choice_stands_goes_through_json(episodes, choices):
    last = played(choices, episodes)[-1]
    data = json.loads(json.dumps(asdict(last)))
    assert (
        Chooser(**{**data, "trials": tuple(data["trials"]), "gains": tuple(data["gains"])}) == last
    )


@pytest.mark.parametrize(
    ("name", "value"), [("arms", ()), ("arms", (2.0, 1.0)), ("held_out", 1), ("span", 0)]
)
def test_choices_that_make_no_sense_are_one_line(name, value):
    with pytest.raises(BadValue, match=rf"ratio\.{name} is .*expected"):
        Ratio(**{name: value})
    with pytest.raises(UnknownName, match='no mode "wild"; there are: bandit, fixed, rule'):
        Ratio("wild")
