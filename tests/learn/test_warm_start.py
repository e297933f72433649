"""A learner that begins with another's policy, moves only its critic, is pulled back, and publishes with care."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.errors import RobostackError
from robostack.learn import anchor, trees
from robostack.learn.anchor import Pull
from robostack.learn.learner import Learner
from robostack.learn.publish import Publisher, Publishing, moved
from tests.learn.conftest import SMALL, SPECS, make_episode


def learner_of(spec, seed=0, steps=0, config=SMALL) -> Learner:
    learner = Learner(spec, config, seed, 1000)
    learner.add([make_episode(spec, 0, "demonstration", 20), make_episode(spec, 1, "practice", 20)])
    learner.train(steps)
    return learner


def equal(first, second) -> bool:
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def copy(tree):
    return jax.tree.map(jnp.copy, tree)


def test_it_acts_as_the_other_run_did_and_is_not_tied_to_it(spec):
    other, learner = learner_of(spec, 1, 5), learner_of(spec, 2, 5)
    theirs, critic = copy(other.acting), copy(learner.state.critic)
    learner.begin_with(other.acting)
    assert equal(learner.acting, theirs) and equal(learner.state.actor, theirs["actor"])
    assert equal(learner.state.critic, critic), "these have no grippers: the critic is its own"
    learner.train(3)
    assert not equal(learner.acting, theirs) and equal(other.acting, theirs)


def test_the_policy_of_another_network_is_refused(spec):
    wide = learner_of(spec, config=replace(SMALL, widths=(32, 16)))
    with pytest.raises(RobostackError, match="the policy to begin with: .*expected"):
        learner_of(spec).acting_of(trees.to_arrays(wide.acting), "the policy to begin with")


def test_steps_of_the_critic_alone_leave_the_policy_bit_equal(spec):
    learner = learner_of(spec, 0, 5)
    before = copy((learner.state.actor, learner.state.served, learner.state.log_temperature))
    moments = copy((learner.state.actor_optimizer, learner.state.temperature_optimizer))
    critic = copy(learner.state.critic)
    info = learner.train(5, moves_actor=False)
    state = learner.state
    assert equal(before, (state.actor, state.served, state.log_temperature))
    assert equal(moments, (state.actor_optimizer, state.temperature_optimizer))
    assert not equal(critic, learner.state.critic)
    assert learner.steps == int(learner.state.steps) == 10 and np.isfinite(info["critic_loss"])


def test_the_pull_is_in_the_actors_loss_with_its_weight(spec):
    """The loss with a pull is the loss without, and weight times the distance by hand."""
    learner, other = learner_of(spec, 0, 5), learner_of(spec, 1)
    sac, state = learner.algorithm, learner.state
    batch = jax.tree.map(lambda x: x[0], _batches(learner))
    seen = batch.observation
    key = jax.random.key(7)
    losses = [
        float(sac._update_actor(copy_state(state), batch, key, pull)[1]["actor_loss"])
        for pull in (None, Pull(other.state.actor, jnp.asarray(0.3)))
    ]
    mean, _ = sac.distribution(state.actor, seen)
    mean_0, _ = sac.distribution(other.state.actor, seen)
    by_hand = 0.3 * np.mean(np.sum((np.tanh(mean) - np.tanh(mean_0)) ** 2, -1))
    assert losses[1] - losses[0] == pytest.approx(by_hand, abs=1e-5) and by_hand > 1e-3


def copy_state(state):
    return state._replace(steps=state.steps + 0)


def _batches(learner):
    from robostack.learn.memory import sample

    config = learner.algorithm.config
    memory = learner._device.memory
    return sample(memory, jax.random.key(3), config.critic_updates, config.batch, config.pad)


def test_a_strong_pull_keeps_the_policy_where_a_free_one_leaves(spec):
    free, pulled = learner_of(spec, 0), learner_of(spec, 0)
    start = copy(free.state.actor)
    free.train(200)
    pulled.train(200, Pull(start, jnp.asarray(100.0)))
    seen = free.newest(20)
    mean_0 = free.mean({"actor": start}, seen)
    far, near = (
        float(anchor.distance(each.mean({"actor": each.state.actor}, seen), mean_0))
        for each in (free, pulled)
    )
    assert near < 0.2 * far


def test_no_pull_is_the_same_as_before_to_the_last_bit(spec):
    one, other = learner_of(spec, 0, 10), learner_of(spec, 0)
    other.train(10, None, True)
    assert equal(one.acting, other.acting) and equal(one.state.critic, other.state.critic)


def test_the_newest_observations_are_the_newest_of_practice(spec):
    learner = learner_of(spec)
    learner.add([make_episode(spec, 2, "practice", 10)])
    seen = np.asarray(learner.newest(14)["numbers"])
    assert seen.shape == (14, 5)
    assert seen[:, :2].tolist() == [[1, i] for i in range(16, 20)] + [[2, i] for i in range(10)]


def test_no_version_moves_more_than_the_bound_and_small_steps_pass_whole(spec):
    learner, guard = learner_of(spec), Publisher(Publishing(bound=0.05, states=20))
    seen, before = learner.newest(20), None
    parts = []
    for steps in (0, 1, 400, 400):
        learner.train(steps)
        published, told = guard.next(learner)
        if before is not None:
            assert float(moved(learner.mean(published, seen), learner.mean(before, seen))) <= 0.0501
            parts.append(told["part"])
        before = copy(published)
    assert parts[0] == 1.0 and min(parts) < 1.0


def test_a_clear_fall_leads_back_to_what_did_best(spec):
    learner, guard = learner_of(spec), Publisher(Publishing(rollback=5))
    for result in [True] * 5:
        best = copy(guard.next(learner)[0])
        assert not guard.judge(learner, result)
        learner.train(20)
    went_back = []
    for _ in range(5):
        guard.next(learner)
        went_back.append(guard.judge(learner, False))
        if went_back[-1]:
            break
        learner.train(20)
    assert went_back == [False] * (len(went_back) - 1) + [True]
    assert equal(learner.acting, best) and equal(guard.next(learner)[0], best)


def test_without_rules_what_is_published_is_what_was_learned(spec):
    learner, guard = learner_of(spec, 0, 3), Publisher(Publishing())
    published, told = guard.next(learner)
    assert equal(published, learner.acting) and not told and not guard.arrays()


def test_a_publisher_goes_on_from_its_arrays(spec):
    learner, guard = learner_of(spec), Publisher(Publishing(bound=0.01, rollback=5, states=20))
    for result in [True] * 6:
        guard.next(learner)
        guard.judge(learner, result)
        learner.train(30)
    again = Publisher(Publishing(bound=0.01, rollback=5, states=20))
    again.restore({**learner.arrays(), **guard.arrays()}, guard.about(), learner)
    assert again.record == guard.record
    assert equal(again.next(learner)[0], guard.next(learner)[0])


@pytest.mark.parametrize("kind", ["gripper", pytest.param("cameras", marks=pytest.mark.slow)])
def test_whatever_it_sees_and_has_a_policy_begins_stays_and_is_held(kind):
    other, learner = learner_of(SPECS[kind], 1), learner_of(SPECS[kind], 2)
    first = learner.acting_of(trees.to_arrays(other.acting), "the policy to begin with")
    learner.begin_with(first)
    guard = Publisher(Publishing(bound=0.01, states=20))
    before = copy(guard.next(learner)[0])
    learner.train(2, moves_actor=False)
    assert equal(learner.acting, before) and equal(before, first)
    learner.train(40, Pull(first["actor"], jnp.asarray(0.1)))
    published, told = guard.next(learner)
    seen = learner.newest(20)
    assert float(moved(learner.mean(published, seen), learner.mean(before, seen))) <= 0.0101
    assert 0.0 < told["part"] <= 1.0 and not equal(published["actor"], before["actor"])
