"""The learner's arithmetic, against numbers worked out by hand and against what must not move."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.errors import BadValue
from robostack.learn.nets import NUMBERS, sample_action
from robostack.learn.sac import Batch, Config, Sac
from tests.learn.conftest import SMALL, SPECS, M, N

# Compiled once for each spec and config, not op by op.
CRITIC, ACTOR, TARGET, INIT, DISTRIBUTION, SEE, VALUES, WHOLE = (
    jax.jit(function, static_argnums=0)
    for function in (
        Sac._update_critic,
        Sac._update_actor,
        Sac.target_value,
        Sac.init,
        Sac.distribution,
        Sac.see,
        Sac.values,
        Sac.whole,
    )
)


def random_batch(spec, key, rows=8, updates=None):
    shape = (rows,) if updates is None else (updates, rows)
    keys = jax.random.split(key, 3)

    def seen(key):
        images = {
            view.name: jax.random.randint(
                key, (*shape, view.height, view.width, 3), 0, 256, jnp.uint8
            )
            for view in spec.views
        }
        return {NUMBERS: jax.random.normal(key, (*shape, N)), **images}

    return Batch(
        observation=seen(keys[0]),
        action=jnp.tanh(jax.random.normal(keys[1], (*shape, M))),
        reward=jnp.zeros(shape).at[..., 0].set(1.0),
        mask=jnp.ones(shape).at[..., 0].set(0.0),
        switches=jnp.zeros(shape).at[..., 1].set(1.0),
        next_observation=seen(keys[2]),
    )


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_log_probability_is_that_of_the_squashed_gaussian():
    mean, log_std = jnp.array([0.3, -1.0]), jnp.array([-0.5, 0.2])
    action, log_prob = sample_action(mean, log_std, jax.random.key(0))
    u = np.arctanh(np.asarray(action, float))
    std = np.exp(np.asarray(log_std, float))
    normal = -0.5 * ((u - np.asarray(mean)) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    assert float(log_prob) == pytest.approx(
        float(np.sum(normal - np.log(1 - np.tanh(u) ** 2))), abs=1e-4
    )


def test_log_probability_stays_finite_where_the_tanh_saturates():
    _, log_prob = sample_action(jnp.array([30.0]), jnp.array([0.0]), jax.random.key(0))
    assert np.isfinite(float(log_prob))


def test_ensemble_members_share_neither_start_nor_update(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    kernels = [leaf for leaf in leaves(state.critic["members"]) if leaf.ndim == 3]
    assert kernels and all(not np.array_equal(leaf[0], leaf[1]) for leaf in kernels)
    # Member 1 ends the same whatever member 0 is: nothing of theirs is shared.
    changed = jax.tree.map(lambda x: x.at[0].set(x[0] * 0.5), state.critic["members"])
    other = state._replace(critic={**state.critic, "members": changed})
    batch = random_batch(any_spec, jax.random.key(1))

    def updated(start):
        # The same target for both, so that only the members' own learning is compared.
        fixed = start._replace(target=state.target)
        return CRITIC(sac, fixed, (batch, jax.random.key(2)))[0].critic["members"]

    for a, b in zip(leaves(updated(state)), leaves(updated(other)), strict=True):
        assert np.array_equal(a[1], b[1])


def test_target_is_reward_where_the_task_ended_and_bootstraps_elsewhere(any_spec):
    sac = Sac(any_spec, replace(SMALL, return_bounds=(-1e9, 1e9)))
    state = INIT(sac, jax.random.key(0))
    batch = random_batch(any_spec, jax.random.key(1))
    key = jax.random.key(2)
    target = np.asarray(TARGET(sac, state, batch, key))
    mean, log_std = DISTRIBUTION(sac, state.actor, batch.next_observation)
    arm, _ = sample_action(mean, log_std, jax.random.split(key)[0])
    action = WHOLE(sac, state.critic, SEE(sac, state.critic, batch.next_observation), arm)
    seen = SEE(sac, state.target, batch.next_observation)
    value = np.asarray(VALUES(sac, state.target, seen, action)).min(0)
    assert target[0] == 1.0  # terminated: the reward alone
    assert target[1:] == pytest.approx(
        SMALL.discount * value[1:], abs=1e-6
    )  # truncated or going on


def test_the_arms_action_is_judged_with_the_choice_of_the_grippers_that_is_worth_most():
    sac = Sac(SPECS["gripper"], replace(SMALL, return_bounds=(-1e9, 1e9)))
    state = INIT(sac, jax.random.key(0))
    batch, key = random_batch(sac.spec, jax.random.key(1)), jax.random.key(2)
    mean, log_std = DISTRIBUTION(sac, state.actor, batch.next_observation)
    arm, _ = sample_action(mean, log_std, jax.random.split(key)[0])
    seen = SEE(sac, state.target, batch.next_observation)
    for choice, entry in enumerate((-1.0, 1.0)):
        # The last layer says nothing but that this choice is best, wherever the cell is.
        layers = state.critic["choice"]["params"]
        last = {"kernel": 0.0 * layers["Dense_0"]["kernel"], "bias": jax.nn.one_hot(choice, 2)}
        sure = {**state.critic, "choice": {"params": {**layers, "Dense_0": last}}}
        action = np.concatenate([arm, np.full((len(arm), 1), entry)], -1)
        value = np.asarray(VALUES(sac, state.target, seen, action)).min(0)
        target = np.asarray(TARGET(sac, state._replace(critic=sure), batch, key))
        assert target[1:] == pytest.approx(SMALL.discount * value[1:], abs=1e-6)


def test_no_entropy_in_the_backup_unless_asked(any_spec):
    config = replace(SMALL, return_bounds=(-1e9, 1e9))
    batch, key = random_batch(any_spec, jax.random.key(1)), jax.random.key(2)

    def target(config, temperature):
        sac = Sac(any_spec, config)
        state = INIT(sac, jax.random.key(0))._replace(
            log_temperature=jnp.log(jnp.asarray(temperature))
        )
        return np.asarray(TARGET(sac, state, batch, key))

    assert np.array_equal(target(config, 0.01), target(config, 10.0))
    asked = replace(config, entropy_backup=True)
    assert not np.array_equal(target(asked, 0.01), target(asked, 10.0))
    # At a terminal step the entropy of a state that never comes is not counted.
    assert target(asked, 10.0)[0] == 1.0


def test_target_stays_within_what_a_return_can_be(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    huge = state._replace(target=jax.tree.map(lambda x: x * 100.0, state.target))
    target = np.asarray(
        TARGET(sac, huge, random_batch(any_spec, jax.random.key(1)), jax.random.key(2))
    )
    assert target.min() >= 0.0 and target.max() <= 1.0


def test_random_subset_of_targets_is_drawn_without_replacement(any_spec):
    """With as many drawn as there are, the minimum is over all: drawing one twice would miss the least."""
    config = replace(SMALL, critics=5, target_critics=4, return_bounds=(-1e9, 1e9))
    sac = Sac(any_spec, config)
    state = INIT(sac, jax.random.key(0))
    batch = random_batch(any_spec, jax.random.key(1))
    for seed in range(20):
        key = jax.random.key(seed)
        act_key, _ = jax.random.split(key)
        mean, log_std = DISTRIBUTION(sac, state.actor, batch.next_observation)
        seen = SEE(sac, state.target, batch.next_observation)
        arm = sample_action(mean, log_std, act_key)[0]
        action = WHOLE(sac, state.critic, SEE(sac, state.critic, batch.next_observation), arm)
        values = np.sort(VALUES(sac, state.target, seen, action), 0)
        got = np.asarray(TARGET(sac, state, batch, key))[1:] / config.discount
        # Four different ones of five: the least, or, where it was left out, the second least.
        near = np.minimum(np.abs(got - values[0, 1:]), np.abs(got - values[1, 1:]))
        assert near.max() < 1e-5


def test_critic_update_leaves_the_actor_bit_equal(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    after, _ = CRITIC(sac, state, (random_batch(any_spec, jax.random.key(1)), jax.random.key(2)))
    for name in ("actor", "log_temperature", "actor_optimizer", "temperature_optimizer"):
        pairs = zip(leaves(getattr(state, name)), leaves(getattr(after, name)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_actor_update_leaves_the_critics_bit_equal(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    after, _ = ACTOR(sac, state, random_batch(any_spec, jax.random.key(1)), jax.random.key(2))
    for name in ("critic", "target", "critic_optimizer"):
        pairs = zip(leaves(getattr(state, name)), leaves(getattr(after, name)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_target_critics_follow_slowly(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    after, _ = CRITIC(sac, state, (random_batch(any_spec, jax.random.key(1)), jax.random.key(2)))
    for old, new, target in zip(
        leaves(state.target), leaves(after.critic), leaves(after.target), strict=True
    ):
        assert np.allclose(target, old + SMALL.target_rate * (new - old), atol=1e-6)


def test_entropy_is_steered_towards_its_target(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    _, info = ACTOR(sac, state, random_batch(any_spec, jax.random.key(1)), jax.random.key(2))
    after, _ = ACTOR(sac, state, random_batch(any_spec, jax.random.key(1)), jax.random.key(2))
    has_too_much = float(info["entropy"]) > SMALL.target_entropy * len(sac._arm)
    assert (float(after.log_temperature) < float(state.log_temperature)) == has_too_much


def test_imitation_draws_the_actor_to_the_persons_half_only(any_spec):
    """Changing the other half's actions changes nothing of the actor's update; changing the person's does."""
    sac = Sac(any_spec, replace(SMALL, imitation=1.0))
    state = INIT(sac, jax.random.key(0))
    batch, key = random_batch(any_spec, jax.random.key(1)), jax.random.key(2)
    half = SMALL.batch // 2

    def updated(rows):
        action = batch.action.at[rows].multiply(-1.0)
        return leaves(ACTOR(sac, state, batch._replace(action=action), key)[0].actor)

    plain = leaves(ACTOR(sac, state, batch, key)[0].actor)
    assert all(np.array_equal(a, b) for a, b in zip(plain, updated(slice(half, None)), strict=True))
    assert any(
        not np.array_equal(a, b) for a, b in zip(plain, updated(slice(0, half)), strict=True)
    )


def test_layer_norm_keeps_values_of_absurd_actions_finite_and_small(any_spec):
    sac = Sac(any_spec, SMALL)
    state = INIT(sac, jax.random.key(0))
    seen = SEE(sac, state.critic, random_batch(any_spec, jax.random.key(1), 1).observation)
    value = VALUES(sac, state.critic, seen, jnp.full((1, any_spec.action_size), 1e6))
    assert np.abs(np.asarray(value)).max() < 100.0


def test_update_is_a_function_of_its_arguments(any_spec):
    sac = Sac(any_spec, SMALL)
    batches = random_batch(any_spec, jax.random.key(1), updates=SMALL.critic_updates)
    first, _ = sac.update(INIT(sac, jax.random.key(0)), batches)
    second, _ = sac.update(INIT(sac, jax.random.key(0)), batches)
    assert all(
        np.array_equal(a, b) for a, b in zip(leaves(first.actor), leaves(second.actor), strict=True)
    )


def guided(batch, key):
    first, second = jax.random.split(key)
    draw = lambda key: jnp.tanh(jax.random.normal(key, batch.action.shape))  # noqa: E731
    return batch._replace(guide=draw(first), next_guide=draw(second))


def test_a_masked_target_judges_actions_in_the_box_around_the_next_guides(any_spec):
    sac = Sac(any_spec, replace(SMALL, return_bounds=(-1e9, 1e9)))
    state = INIT(sac, jax.random.key(0))
    batch = guided(random_batch(any_spec, jax.random.key(1)), jax.random.key(5))
    key, width = jax.random.key(2), jnp.asarray(0.3)
    target = np.asarray(TARGET(sac, state, batch, key, width))
    mean, log_std = DISTRIBUTION(sac, state.actor, batch.next_observation)
    unit, _ = sample_action(mean, log_std, jax.random.split(key)[0])
    guide = np.asarray(batch.next_guide)[:, sac._arm]
    low, high = np.maximum(guide - 0.3, -1.0), np.minimum(guide + 0.3, 1.0)
    arm = low + (np.asarray(unit) + 1) / 2 * (high - low)
    action = WHOLE(sac, state.critic, SEE(sac, state.critic, batch.next_observation), arm)
    seen = SEE(sac, state.target, batch.next_observation)
    value = np.asarray(VALUES(sac, state.target, seen, action)).min(0)
    assert target[1:] == pytest.approx(SMALL.discount * value[1:], abs=1e-6)


def test_a_narrow_mask_leaves_the_actor_little_to_learn_and_an_open_one_all(any_spec):
    sac = Sac(any_spec, replace(SMALL, imitation=1.0, temperature=1e-9))
    state = INIT(sac, jax.random.key(0))
    batch = guided(random_batch(any_spec, jax.random.key(1)), jax.random.key(5))

    def moments(width):
        after, _ = ACTOR(sac, state, batch, jax.random.key(2), None, width)
        first = after.actor_optimizer[0].mu  # a tenth of the gradient
        return np.sqrt(sum(float((leaf**2).sum()) for leaf in leaves(first)))

    narrow, half, whole = (moments(jnp.asarray(width)) for width in (0.01, 1.0, 2.0))
    assert narrow < 0.1 * half and half < whole
    assert whole == pytest.approx(moments(None), rel=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("batch", 7, "even"),
        ("target_critics", 3, "1 to critics"),
        ("discount", 1.0, "between 0 and 1"),
    ],
)
def test_impossible_choices_are_refused_with_what_is_expected(field, value, says):
    with pytest.raises(BadValue, match=says):
        Config(**{field: value})
