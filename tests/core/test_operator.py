"""The scripted person: when they act, how much, and that chance comes from seeds."""

import numpy as np
import pytest

from robostack.core.operator import Nobody, ScriptedPerson, Style


class Forward:
    """An expert that goes ahead and counts what it was shown."""

    def __init__(self):
        self.seen = 0

    def act(self, terms):
        self.seen += 1
        return np.full(6, 0.5)


def terms(distance: float) -> dict[str, np.ndarray]:
    return {"target_error": np.array([distance, 0, 0, 0, 0, 0])}


def person(**style) -> ScriptedPerson:
    return ScriptedPerson(Forward, Style(**{"noise": 0.0, **style}))


def acts(operator, distances, kind="practice", seed=0) -> list[bool]:
    operator.begin(kind, seed)
    return [operator.act(terms(distance)) is not None for distance in distances]


def test_a_hand_trembles_but_the_button_of_a_gripper_does_not():
    class Pinching:
        def act(self, terms):
            return np.array([0.0] * 6 + [-0.4, 0.1])

    operator = ScriptedPerson(Pinching, Style(noise=0.5))
    operator.begin("demonstration", 0)
    actions = np.array([operator.act(terms(0.1)) for _ in range(50)])
    assert np.all(actions[:, :6].std(0) > 0.2)
    assert np.array_equal(actions[:, 6:], [[-1.0, 1.0]] * 50)


def test_a_slow_person_moves_the_arm_less_the_same_way_and_the_gripper_as_ever():
    class Pinching:
        def act(self, terms):
            return np.array([0.8, -0.4, 0.0, 0.0, 0.0, 0.2, -1.0])

    slow, fast = (ScriptedPerson(Pinching, Style(noise=0.0, speed=speed)) for speed in (0.5, 1.0))
    for operator in (slow, fast):
        operator.begin("demonstration", 0)
    action, whole = slow.act(terms(0.1)), fast.act(terms(0.1))
    assert action is not None and whole is not None
    assert np.allclose(action[:6], 0.5 * whole[:6]) and action[6] == whole[6]


def test_progress_is_judged_by_what_the_task_says_is_left():
    for left, is_helped in ((lambda terms: -terms["target_error"][0], False), (None, True)):
        operator = ScriptedPerson(Forward, Style(noise=0.0), left=left)
        distances = np.linspace(0.1, 0.5, 100)  # ever farther from the target
        assert any(acts(operator, distances)) == is_helped


def test_a_demonstration_is_the_persons_from_the_first_tick():
    assert all(acts(person(), [0.1] * 5, kind="demonstration"))


@pytest.mark.parametrize("kind", ["solo", "evaluation"])
def test_the_person_keeps_their_hands_off_when_the_policy_is_judged(kind):
    assert not any(acts(person(), [0.1] * 100, kind=kind))


def test_a_policy_that_gets_nearer_is_left_alone():
    assert not any(acts(person(), np.linspace(0.5, 0.0, 100)))


@pytest.mark.parametrize("reaction", [1, 3, 6])
def test_the_hand_arrives_a_reaction_time_after_the_stall_is_seen(reaction):
    hands = acts(person(reaction=reaction, patience=12), [0.1] * 40)
    # The first tick is progress; the twelfth without it is the stall.
    assert hands.index(True) == 12 + reaction
    assert all(hands[12 + reaction :])


def test_the_hand_arrives_a_reaction_time_after_the_tool_moves_away():
    distances = [0.1, 0.09, 0.08, 0.12] + [0.13] * 10
    assert acts(person(reaction=3), distances).index(True) == 3 + 3


def test_a_correction_is_as_long_as_asked_and_then_the_policy_goes_on():
    hands = acts(person(reaction=3, patience=12, finishes=False, correction=10), [0.1] * 60)
    start = hands.index(True)
    assert hands[start : start + 11] == [True] * 10 + [False]
    assert any(hands[start + 11 :])


def test_the_budget_is_never_overspent_and_demonstrations_are_free():
    operator = person(budget=25)
    acts(operator, [0.1] * 50, kind="demonstration")
    assert operator.spent == 0
    total = sum(sum(acts(operator, [0.1] * 30, seed=seed)) for seed in range(5))
    assert total == operator.spent == 25
    assert not any(acts(operator, [0.1] * 50))


def test_the_person_watches_less_the_more_the_policy_succeeds_alone():
    operator, shares = person(memory=20), []
    for successes in (0, 10, 20):
        for i in range(20):
            operator.begin("practice", i)
            operator.end(i < successes)
        shares.append(operator.willingness)
    assert shares == [1.0, 0.5, 0.0]
    assert not any(acts(operator, [0.1] * 60))


def test_a_success_with_help_does_not_count_as_the_policys_own():
    operator = person()
    for seed in range(20):
        assert any(acts(operator, [0.1] * 30, seed=seed))
        operator.end(True)
    assert operator.willingness == 1.0


def test_only_practice_counts_for_the_taper():
    operator = person()
    for kind in ("demonstration", "evaluation", "solo"):
        for _ in range(30):
            operator.begin(kind, 0)
            operator.end(True)
    assert operator.willingness == 1.0


def test_willingness_needs_five_episodes_to_fall():
    operator = person()
    for i in range(5):
        assert operator.willingness == 1.0, i
        operator.begin("practice", i)
        operator.end(True)
    assert operator.willingness == 0.0


def test_somebody_who_keeps_watching_helps_where_they_would_have_looked_away():
    for watching, helps in ((1.0, True), (0.0, False)):
        operator = person(watching=watching)
        for i in range(5):
            operator.begin("practice", i)
            operator.end(True)
        assert operator.willingness == watching
        assert any(acts(operator, [0.1] * 40, seed=9)) == helps


def test_the_expert_is_new_each_episode_and_watches_every_tick():
    experts = []

    def make() -> Forward:
        experts.append(Forward())
        return experts[-1]

    operator = ScriptedPerson(make)
    for length in (7, 30):
        acts(operator, np.linspace(0.5, 0.1, length))
        assert experts[-1].seen == length


def test_the_same_seed_gives_the_same_hand_and_another_seed_another():
    def hand(seed: int, own: int = 0) -> np.ndarray:
        operator = ScriptedPerson(Forward, Style(noise=0.3), seed=own)
        operator.begin("demonstration", seed)
        return np.array([operator.act(terms(0.1)) for _ in range(5)])

    np.testing.assert_array_equal(hand(1), hand(1))
    assert (hand(1) != hand(2)).any()
    assert (hand(1) != hand(1, own=1)).any()
    assert (np.abs(hand(1)) <= 1.0).all()


def test_nobody_has_the_same_interface_and_never_acts():
    assert not any(acts(Nobody(), [0.1] * 100))
    Nobody().end(True)
