"""Learning as a whole: it repeats, it publishes what fits, and it does learn."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.errors import BadValue, RobostackError, SpecMismatch
from robostack.core.mask import OPEN
from robostack.core.spec import Spec, Term
from robostack.learn import policy as policies
from robostack.learn.learner import Learner
from robostack.learn.nets import NUMBERS
from robostack.store import params
from tests.learn.conftest import SMALL, M, N, make_episode


def trained(spec, steps, seed=0, config=SMALL):
    learner = Learner(spec, config, seed, 1000)
    learner.add([make_episode(spec, 0, "demonstration", 20), make_episode(spec, 1, "practice", 20)])
    info = learner.train(steps)
    return learner, info


@pytest.mark.parametrize("choice", [{"n_step": 1}, {"timeouts_end": True}])
def test_what_returns_are_made_of_changes_what_is_learned(spec, choice):
    def values(config):
        learner = Learner(spec, config, 0, 1000)
        kinds = ("demonstration", "practice")  # the second runs out of time
        learner.add(
            make_episode(spec, i, kind, 6, is_success=not i) for i, kind in enumerate(kinds)
        )
        return learner.train(3)["value"]

    assert values(SMALL) == values(SMALL) != values(replace(SMALL, **choice))


def test_same_seed_and_episodes_give_bit_equal_parameters(spec):
    first, second = trained(spec, 10)[0], trained(spec, 10)[0]
    pairs = zip(jax.tree.leaves(first.state), jax.tree.leaves(second.state), strict=True)
    keys = jax.dtypes.prng_key
    for a, b in pairs:
        if jax.dtypes.issubdtype(a.dtype, keys):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.array_equal(a, b)


def test_ten_steps_are_ten_steps_however_they_are_cut(spec):
    whole = trained(spec, 10)[0]
    cut = trained(spec, 3)[0]
    cut.train(7)
    pairs = zip(jax.tree.leaves(whole.state.actor), jax.tree.leaves(cut.state.actor), strict=True)
    assert cut.steps == whole.steps == 10 and all(np.array_equal(a, b) for a, b in pairs)


def test_numbers_to_log_are_finite(spec):
    _, info = trained(spec, 5)
    assert {"critic_loss", "actor_loss", "entropy", "temperature", "value"} <= set(info)
    assert all(np.isfinite(value) for value in info.values())


def test_published_policy_acts_as_the_learners_actor(any_spec, tmp_path):
    spec = any_spec
    learner, _ = trained(spec, 5)
    path = policies.publish(tmp_path, 3, learner.acting, learner.algorithm.network, spec, updates=5)
    policy = policies.load(path, spec)
    observation = np.random.default_rng(0).normal(size=N).astype(np.float32)
    rng = np.random.default_rng(1)
    pictures = {
        view.name: rng.integers(0, 256, (view.height, view.width, 3), np.uint8)
        for view in spec.views
    }
    seen = learner.algorithm.network.see(None, observation, pictures)
    expected = learner.algorithm.network.act(spec, learner.acting, seen, None)
    assert policy.version == 3
    acted = policy.act(observation, None, pictures)
    assert acted == pytest.approx(np.asarray(expected), abs=1e-6)
    if pictures:
        with pytest.raises(BadValue, match="camera front gives nothing, the policy needs uint8"):
            policy.act(observation, None)


def test_exploration_repeats_by_seed_and_stays_in_range(spec, tmp_path):
    learner, _ = trained(spec, 1)
    policy = policies.load(
        policies.publish(tmp_path, 0, learner.acting, learner.algorithm.network, spec), spec
    )

    def explored(seed):
        rng = np.random.default_rng(seed)
        return np.stack([policy.act(np.zeros(N, np.float32), rng) for _ in range(20)])

    assert np.array_equal(explored(1), explored(1)) and not np.array_equal(explored(1), explored(2))
    assert np.abs(explored(1)).max() <= 1.0 and explored(1).std(0).min() > 0.0


def test_swapped_weights_are_used_at_once(spec, tmp_path):
    first, second = trained(spec, 1, seed=0)[0], trained(spec, 1, seed=1)[0]
    policies.publish(tmp_path, 0, first.acting, first.algorithm.network, spec)
    policies.publish(tmp_path, 1, second.acting, second.algorithm.network, spec)
    policy = policies.load(params.path_of(tmp_path, 0), spec)
    before = policy.act(np.ones(N, np.float32), None)
    policy.take(policy.ready(params.load(params.path_of(tmp_path, 1), spec)))
    assert policy.version == 1 and not np.array_equal(
        before, policy.act(np.ones(N, np.float32), None)
    )


def test_parameters_of_another_task_are_refused_with_the_difference(spec, tmp_path):
    learner, _ = trained(spec, 1)
    path = policies.publish(tmp_path, 0, learner.acting, learner.algorithm.network, spec)
    other = Spec((Term("x", N, "mm", "base", (1.0,) * N),), spec.action, spec.period)
    with pytest.raises(SpecMismatch, match=r"observation\.x\.unit: got m, expected mm"):
        policies.load(path, other)


def test_weights_of_another_network_are_refused(spec, tmp_path):
    small, _ = trained(spec, 1)
    wide, _ = trained(spec, 1, config=replace(SMALL, widths=(32, 16)))
    policy = policies.load(
        policies.publish(tmp_path, 0, small.acting, small.algorithm.network, spec), spec
    )
    path = policies.publish(tmp_path, 1, wide.acting, wide.algorithm.network, spec)
    with pytest.raises(RobostackError, match=r"\(32, 16\).*\(16, 16\)"):
        policy.ready(params.load(path))


def test_critic_learns_the_discounted_value_of_a_known_chain(spec):
    """In a chain of T steps with reward 1 at its end, the state k steps before has value discount ** k."""
    learner = Learner(
        spec, replace(SMALL, widths=(64, 64), batch=64, rate=1e-3, imitation=0.0), 0, 1000
    )
    length = 8
    for index in range(2):
        kind = "demonstration" if index == 0 else "practice"
        episode = make_episode(spec, 0, kind, length)
        header = replace(episode.header, index=index)
        learner.add([replace(episode, header=header)])
    learner.train(1500)
    episode = make_episode(spec, 0, "practice", length)
    action = np.array([step.action for step in episode.steps], np.float32)
    sac, critic = learner.algorithm, learner.state.critic
    values = sac.values(
        critic,
        sac.see(critic, {NUMBERS: jnp.asarray(episode.observations[:-1])}),
        jnp.asarray(action),
    )
    expected = learner.algorithm.config.discount ** np.arange(length - 1, -1, -1)
    assert np.asarray(values).mean(0) == pytest.approx(expected, abs=0.12)
    assert np.asarray(values)[:, -1] == pytest.approx([1.0, 1.0], abs=0.05)


def test_imitation_alone_reproduces_the_persons_actions(spec):
    config = replace(SMALL, widths=(64, 64), batch=64, rate=1e-3, imitation=100.0)
    learner = Learner(spec, config, 0, 1000)
    episode = make_episode(spec, 0, "demonstration", 10)
    learner.add([episode])
    learner.train(600)
    shown = np.array([step.action for step in episode.steps])
    mean, _ = learner.algorithm.distribution(
        learner.state.actor, {NUMBERS: jnp.asarray(episode.observations[:-1])}
    )
    acted = np.tanh(mean)
    assert np.abs(acted - shown).mean() < 0.1
    assert acted.shape == (10, M)


def test_the_width_of_a_mask_reaches_what_is_learned_and_the_error_that_stands_guard(spec):
    """An open mask is the same as none, to the last bit; a narrow one is not."""
    unbound = replace(SMALL, return_bounds=(-1e9, 1e9))  # first values are all clipped to one else

    def made(width: float, is_masked: bool = True) -> tuple[list[np.ndarray], float | None]:
        learner = Learner(spec, unbound, 0, 100, is_masked=is_masked)
        for index, kind in enumerate(("demonstration", "practice", "practice")):
            episode = make_episode(spec, index, kind, 9)
            steps = [replace(step, guide=np.array([0.5, -0.5])) for step in episode.steps]
            learner.add([replace(episode, steps=tuple(steps))], is_held_out=index == 2)
        learner.width = width
        error = learner.held_out_error()
        learner.train(1)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(learner.acting)], error

    plain, plain_error = made(OPEN, is_masked=False)
    for width, is_same in ((OPEN, True), (0.1, False)):
        leaves, error = made(width)
        same = all(np.array_equal(a, b) for a, b in zip(leaves, plain, strict=True))
        assert same == is_same and (error == plain_error) == is_same
