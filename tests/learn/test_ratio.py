"""The ratio of learner steps to control steps: who chooses, and the guard that has the last word."""

import json
from dataclasses import asdict

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue, UnknownName
from robostack.learn.learner import LOOKS, Learner
from robostack.learn.ratio import Chooser, Pace, Ratio
from robostack.learn.sac import Sac
from tests.learn.conftest import SMALL, make_episode

# Compiled, not op by op.
DISTRIBUTION, SEE, VALUES, WHOLE = (
    jax.jit(function, static_argnums=0)
    for function in (Sac.distribution, Sac.see, Sac.values, Sac.whole)
)
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


@given(st.lists(st.booleans(), max_size=30), st.sampled_from([RULE, BANDIT]))
def test_while_nothing_is_held_out_the_lowest_ratio_stays(results, choices):
    for now in played(choices, [(is_success, 50, None) for is_success in results]):
        assert now.arm == 0 and not any(now.trials)


def test_an_error_that_is_no_number_forces_the_lowest_ratio():
    before = played(RULE, [(True, 50, 0.1)] * 12)[-1]
    assert before.arm == 3
    assert before.after(RULE, True, 50, float("nan")).arm == 0


def paced(pace: Pace, errors) -> list[tuple[bool, float]]:
    """Episode after episode: whether it is held out, and its ratio."""
    found = []
    for error in errors:
        found.append((pace.holds_out, pace.ratio))
        pace.played(True, 50)
        pace.settled(lambda error=error: error)
    return found


def test_every_so_many_th_episode_is_held_out_and_a_rise_brings_the_ratio_down():
    choices = Ratio("rule", held_out=3, span=2)
    errors = [None, None, 0.5, 0.5, 0.5, 0.5, 5.0, 5.0]
    found = paced(Pace(choices, 2.0), errors)
    assert [held for held, _ in found] == [False, False, True, False, False, True, False, False]
    assert [ratio for _, ratio in found] == [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 4.0, 1.0]


def test_a_fixed_ratio_holds_nothing_out_and_asks_for_no_error():
    pace = Pace(Ratio(held_out=2, span=1), 1.7)

    def asked():
        raise AssertionError("nobody needs the held-out error")

    for _ in range(5):
        assert (pace.holds_out, pace.ratio, pace.told()) == (False, 1.7, {"ratio": 1.7})
        pace.played(True, 50)
        pace.settled(asked)


@given(st.lists(st.none() | st.floats(0.0, 1.0), max_size=20), st.booleans())
def test_a_pace_goes_on_from_json_as_it_would_have(errors, is_between):
    pace, again = Pace(RULE, 2.0), Pace(RULE, 2.0)
    paced(pace, errors)
    if is_between:
        pace.played(False, 70)
    again.restore(json.loads(json.dumps(pace.about())))
    for each in (pace, again):
        each.settled(lambda: 0.3)
    assert again.about() == pace.about()
    assert paced(again, [0.2] * 9) == paced(pace, [0.2] * 9)


def filled(spec, held: int = 12) -> Learner:
    """A demonstration, practice, and two episodes of practice that are held out."""
    learner = Learner(spec, SMALL, 0, 1000)
    learner.add([make_episode(spec, 0, "demonstration", 10), make_episode(spec, 1, "practice", 10)])
    for index in (2, 3):
        learner.add([make_episode(spec, index, "practice", held)], is_held_out=True)
    return learner


def bits(tree) -> list[bytes]:
    keys = jax.dtypes.prng_key
    leaves = jax.tree.leaves(tree)
    is_key = [jax.dtypes.issubdtype(leaf.dtype, keys) for leaf in leaves]
    pairs = zip(leaves, is_key, strict=True)
    return [np.asarray(jax.random.key_data(x) if key else x).tobytes() for x, key in pairs]


def test_what_is_held_out_changes_nothing_that_is_learned(spec):
    learner, without = filled(spec), Learner(spec, SMALL, 0, 1000)
    for index, kind in enumerate(("demonstration", "practice")):
        without.add([make_episode(spec, index, kind, 10)])
    for _ in range(3):
        assert learner.held_out_error() is not None
        for each in (learner, without):
            each.train(2)
    assert bits(learner.state) == bits(without.state)


def test_the_held_out_error_is_the_mean_over_those_transitions_and_moves_nothing(any_spec):
    """Worked out row by row, with the draws of the call."""
    learner = filled(any_spec)
    before = bits(learner.state)
    error = learner.held_out_error()
    assert error == learner.held_out_error() and bits(learner.state) == before
    sac, state, device = learner.algorithm, learner.state, learner._device
    rows = learner.replay.held_out(LOOKS * SMALL.batch)
    assert len(rows) == 24 < LOOKS * SMALL.batch  # some rows of the call are there to fill up
    assert set(learner.replay.episode[rows]) == {2, 3}
    keys, expected = jax.random.split(jax.random.key(0), LOOKS), []
    for number, first in enumerate(range(0, 24, SMALL.batch)):
        at = rows[first : first + SMALL.batch]
        mean, log_std = DISTRIBUTION(sac, state.actor, device.observations(at + 1))
        noise = jax.random.normal(jax.random.split(keys[number])[0], mean.shape)
        arm = np.tanh(mean + np.exp(log_std) * noise)
        after_seen = SEE(sac, state.critic, device.observations(at + 1))
        action = WHOLE(sac, state.critic, after_seen, arm)
        after = VALUES(
            sac, state.target, SEE(sac, state.target, device.observations(at + 1)), action
        )
        target = learner.replay.reward[at] + SMALL.discount * learner.replay.mask[at] * np.min(
            np.asarray(after), 0
        )
        made = learner.replay.action[at]
        seen = SEE(sac, state.critic, device.observations(at))
        values = np.asarray(VALUES(sac, state.critic, seen, made))
        expected += [*((values - np.clip(target, 0.0, 1.0)) ** 2).mean(0)]
    assert error == pytest.approx(np.mean(expected), rel=1e-4)


def test_without_held_out_transitions_there_is_no_error(spec):
    learner = Learner(spec, SMALL, 0, 1000)
    learner.add([make_episode(spec, 0, "practice", 10)])
    assert learner.held_out_error() is None


def test_values_that_run_away_raise_the_held_out_error_and_bring_the_ratio_down(spec):
    learner, choices, now = filled(spec), Ratio("rule", span=1), Chooser()
    for _ in range(2):
        now = now.after(choices, False, 25, learner.held_out_error())
    assert now.arm == 2
    members = jax.tree.map(lambda leaf: 3.0 * leaf, learner.state.critic["members"])
    learner.state = learner.state._replace(critic={**learner.state.critic, "members": members})
    assert now.after(choices, False, 25, learner.held_out_error()).arm == 0
