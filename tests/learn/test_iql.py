"""IQL: losses by hand, what moves and what does not, the better part of a log, cameras and grippers too."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.errors import BadValue
from robostack.core.spec import Spec, Term, View
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.learn import policy as policies
from robostack.learn import trees
from robostack.learn.bc import Bc
from robostack.learn.config import Config, Offline
from robostack.learn.iql import Iql, advantage_weight, expectile_loss
from robostack.learn.learner import Learner
from robostack.learn.nets import NUMBERS
from robostack.learn.sac import Batch, Sac
from tests.learn.conftest import SMALL, SPECS, M, N
from tests.learn.test_imitation import equal, leaves


def row_of(spec: Spec, key: int = 0) -> Batch:
    """One transition that ends nothing and is rewarded a little."""
    keys = jax.random.split(jax.random.key(key), 3)
    now, then = ({NUMBERS: jax.random.normal(k, (N,))} for k in keys[:2])
    for view in spec.views:
        shape = (view.height, view.width, 3)
        now[view.name], then[view.name] = jax.random.bits(keys[2], (2, *shape), jnp.uint8)
    action = jnp.tanh(jax.random.normal(keys[2], (M,)))
    number = jnp.asarray(1.0)
    return Batch(now, action, 0.25 * number, number, 0.0 * number, then)


def started(spec: Spec, config: Config = SMALL):
    """The algorithm, and a state whose target is another than its critic."""
    iql = Iql(spec, config)
    state = jax.jit(iql.init)(jax.random.key(0))
    target = jax.tree.map(lambda x: 1.1 * x + 0.01, state.target)
    return iql, state._replace(target=target)


# Losses


def test_an_expectile_weighs_errors_above_it_by_tau_and_those_below_by_the_rest():
    errors, expected = jnp.array([2.0, -1.0]), [0.8 * 4.0, 0.2]
    assert float(jax.jit(expectile_loss)(errors[0], 0.8)) == pytest.approx(expected[0])
    assert np.asarray(jax.vmap(expectile_loss, (0, None))(errors, 0.8)) == pytest.approx(expected)


def test_an_expectile_of_one_half_is_half_the_square():
    assert float(expectile_loss(jnp.asarray(-3.0), 0.5)) == pytest.approx(4.5)


def test_an_action_weighs_by_the_exponent_of_its_advantage_up_to_a_bound():
    advantages = jnp.array([-0.5, 0.0, 0.5, 10.0])
    expected = [np.exp(-1.0), 1.0, np.exp(1.0), 100.0]
    every = jax.vmap(advantage_weight, (0, None, None))(advantages, 2.0, 100.0)
    assert np.asarray(every) == pytest.approx(expected, rel=1e-5)
    assert float(jax.jit(advantage_weight)(advantages[0], 2.0, 100.0)) == pytest.approx(expected[0])


def test_advantages_count_in_steps():
    """One step of a discount of 0.9 is a tenth of a value near 1."""
    iql = Iql(SPECS["numbers"], replace(SMALL, discount=0.9, offline=Offline(sharpness=3.0)))
    assert float(iql.weight(jnp.asarray(0.1))) == pytest.approx(np.exp(3.0), rel=1e-4)


def test_the_critics_loss_is_the_expectile_of_the_lowest_target_and_the_error_of_each(spec):
    """By hand from the values, under jit and under vmap."""
    iql, state = started(spec)
    row, config = row_of(spec), iql.config
    value_of, values_of = jax.jit(iql.value), jax.jit(iql.values)
    value = float(value_of(state.critic, row.observation))
    lowest = float(np.min(values_of(state.target, row.observation, row.action)))
    then = float(value_of(state.critic, row.next_observation))
    target = float(np.clip(0.25 + config.discount * then, *config.return_bounds))
    errors = np.asarray(values_of(state.critic, row.observation, row.action)) - target
    share = 0.8 if lowest > value else 0.2
    expected = share * (lowest - value) ** 2 + np.sum(errors**2)
    args = state.critic, state.target, row
    loss, info = jax.jit(iql.critic_loss)(*args)
    assert float(loss) == pytest.approx(expected, abs=1e-5)
    assert float(info["advantage"]) == pytest.approx(lowest - value, abs=1e-6)
    two = jax.tree.map(lambda x: np.stack([x, x]), row)
    batch = jax.jit(jax.vmap(iql.critic_loss, (None, None, 0)))(state.critic, state.target, two)[0]
    assert np.asarray(batch) == pytest.approx([expected] * 2, abs=1e-5)
    # At the end of a task nothing is expected any more.
    last = row._replace(mask=jnp.asarray(0.0), reward=jnp.asarray(1.0))
    info = jax.jit(iql.critic_loss)(state.critic, state.target, last)[1]
    assert float(info["critic_loss"]) == pytest.approx(
        float(np.sum((errors + target - 1.0) ** 2)), abs=1e-5
    )


def test_the_actors_loss_is_the_clones_times_the_weight():
    """Of arm and gripper."""
    iql, state = started(SPECS["gripper"])
    row, advantage = row_of(iql.spec), jnp.asarray(0.02)
    clone = float(jax.jit(Bc(iql.spec, SMALL).loss)(state.weights, row.observation, row.action)[0])
    expected = clone * np.exp(3.0 * 0.02 / (1.0 - SMALL.discount))
    args = state.weights, row.observation, row.action, advantage
    assert float(jax.jit(iql.actor_loss)(*args)[0]) == pytest.approx(expected, rel=1e-4)
    two = jax.tree.map(lambda x: np.stack([x, x]), args[1:])
    every = jax.jit(jax.vmap(iql.actor_loss, (None, 0, 0, 0)))
    batch = every(state.weights, *two)[0]
    assert np.asarray(batch) == pytest.approx([expected] * 2, rel=1e-4)


# What moves and what does not


def test_each_loss_moves_its_own_part_and_none_the_target(spec):
    """Of V's loss the critics have no gradient, of theirs V has none, and the target has none of either."""
    iql, state = started(spec)
    row = row_of(spec)

    def parts(critic, target):
        info = iql.critic_loss(critic, target, row)[1]
        return jnp.stack([info["value_loss"], info["critic_loss"]])

    of_critic, of_target = jax.jit(jax.jacrev(parts, (0, 1)))(state.critic, state.target)

    def moves(tree, loss):
        return any(np.any(leaf[loss]) for leaf in leaves(tree))

    assert moves(of_critic["value"], 0) and not moves(of_critic["members"], 0)
    assert moves(of_critic["members"], 1) and not moves(of_critic["value"], 1)
    assert not moves(of_target, 0) and not moves(of_target, 1)


def test_a_step_moves_every_part_and_no_critic_by_what_the_actor_is():
    """With a camera: every array of every eye moves. With another actor the critics are the same to the last bit."""
    spec = replace(SPECS["cameras"], views=(View("front", 16, 16),))
    iql = Iql(spec, replace(SMALL, offline=Offline(sharpness=0.1)))
    state = jax.jit(iql.init)(jax.random.key(0))
    other = state._replace(weights=jax.tree.map(lambda x: 1.1 * x + 0.01, state.weights))
    rows = [row_of(spec, key) for key in range(4)]
    batches = jax.tree.map(lambda *x: np.stack(x)[None], *rows)
    step = jax.jit(iql.step)
    (after, info), (beside, _) = step(state, batches), step(other, batches)
    for before, now in ((state.critic, after.critic), (state.weights, after.weights)):
        flat = jax.tree_util.tree_leaves_with_path(now)
        same = [
            jax.tree_util.keystr(path)
            for (path, new), old in zip(flat, leaves(before), strict=True)
            if np.array_equal(old, new)
        ]
        assert same == []
    assert equal(after.critic, beside.critic) and equal(after.target, beside.target)
    assert not equal(after.weights, beside.weights) and not equal(state.target, after.target)
    assert all(np.isfinite(float(value)) for value in info.values())


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"expectile": 0.4}, "offline.expectile is 0.4, expected 0.5 to less than 1"),
        ({"expectile": 1.0}, "0.5 to less than 1"),
        ({"sharpness": -1.0}, "at least 0"),
        ({"most": 0.5}, "at least 1"),
    ],
)
def test_choices_out_of_range_are_refused(choice, says):
    with pytest.raises(BadValue, match=says):
        Offline(**choice)


# What is learned and served


@pytest.mark.parametrize("kind", ["gripper", pytest.param("cameras", marks=pytest.mark.slow)])
def test_a_run_of_sac_begins_with_what_was_learned_offline(kind):
    spec = SPECS[kind]
    iql, sac = Iql(spec, SMALL), Sac(spec, SMALL)
    assert iql.network == sac.network  # explores too
    learned = iql.acting(jax.jit(iql.init)(jax.random.key(0)))
    fresh = jax.jit(sac.init)(jax.random.key(1))
    stored = policies.flatten(learned)
    taken = trees.from_arrays(stored, sac.acting(fresh), "what was learned")
    begun = sac.started(fresh, taken)
    assert equal(sac.acting(begun), learned) and not equal(sac.acting(fresh), learned)
    assert equal(begun.actor, learned["actor"])
    assert equal(begun.critic["members"], fresh.critic["members"])


POINT = Spec(
    (Term("to_goal", 2, "m", "goal", (1.0, 1.0)),), (Term("u", 2, "m", "goal", (1.0, 1.0)),), 0.1
)
REACH, SPEED, LIMIT = 0.12, 0.1, 30  # m, m a step, steps: the straight way takes 10


def play(index: int, act, kind: str = "demonstration") -> Episode:
    """A point that starts 1 m from its goal, and moves as `act(where, rng)` says."""
    rng = np.random.default_rng(index)
    angle = rng.uniform(-np.pi, np.pi)
    where = np.array([np.cos(angle), np.sin(angle)])
    frames, steps = [where], []
    while len(steps) < LIMIT and not (steps and steps[-1].terminated):
        action = np.clip(act(where, rng), -1, 1)
        where = where + SPEED * action
        is_done = bool(np.linalg.norm(where) < REACH)
        steps.append(
            Step(
                observation=frames[-1].astype(np.float32),
                action_policy=action,
                action=action,
                who=Who.PERSON,
                reward=float(is_done),
                terminated=is_done,
                truncated=not is_done and len(steps) + 1 == LIMIT,
                parameters=0,
                stamp=0.1 * len(steps),
                age=0.0,
                lateness=0.0,
            )
        )
        frames.append(where)
    header = EpisodeHeader(index, kind, "r", "t", "mock", index, POINT.digest, "0")
    return Episode(header, np.array(frames, np.float32), tuple(steps))


def straight(where, rng):
    return -where / np.linalg.norm(where) + rng.normal(0, 0.1, 2)


def walker():
    """A random walk of actions, with no regard to the goal."""
    action = np.zeros(2)

    def act(where, rng):
        nonlocal action
        action = 0.8 * action + rng.normal(0, 0.5, 2)
        return action

    return act


def test_from_a_log_that_is_mostly_a_random_walk_it_learns_the_good_part_and_cloning_does_not():
    """METHODS B17's log: 30 % of the steps are good ones, 70 % a random walk."""
    log, counts = [], [0, 0]
    while sum(counts) < 4000:
        is_walk = counts[0] >= 0.3 * sum(counts)
        log.append(play(len(log), walker() if is_walk else straight))
        counts[is_walk] += len(log[-1].steps)
    assert counts[0] / sum(counts) == pytest.approx(0.3, abs=0.01)
    config = replace(SMALL, widths=(32, 32), batch=128, rate=2e-3, discount=0.95, target_rate=0.01)
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, 100)
    starts = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    in_time = {}
    for method in ("iql", "bc"):
        learner = Learner(POINT, config, 0, 6000, method)
        learner.add(log)
        learner.train(1500)
        one = partial(learner.algorithm.network.act, POINT, learner.acting, key=None)
        act = jax.jit(jax.vmap(lambda where, one=one: one({NUMBERS: where})))
        where, is_there = starts, np.zeros(len(starts), bool)
        for _ in range(15):
            where = np.where(is_there[:, None], where, where + SPEED * np.asarray(act(where)))
            is_there = np.linalg.norm(where, axis=-1) < REACH
        in_time[method] = is_there.mean()
    assert in_time["iql"] >= 0.9 and in_time["bc"] <= 0.4
