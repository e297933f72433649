"""Cloning: losses by hand, eyes that learn, rows of the person alone, policies served as learned."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.chunk import Execution
from robostack.core.errors import BadValue, RobostackError, UnknownName
from robostack.core.spec import View
from robostack.core.types import Who
from robostack.learn import euler
from robostack.learn import policy as policies
from robostack.learn.acting import Network
from robostack.learn.bc import Bc, averaged, regression_loss
from robostack.learn.config import CLONING, NO_TRUNK, Flow
from robostack.learn.flow import FlowBc
from robostack.learn.learner import MAKERS, Learner
from robostack.learn.memory import DeviceReplay, sample
from robostack.learn.nets import NUMBERS
from robostack.learn.sac import Batch
from robostack.store import params
from robostack.store.replay import Replay
from tests.learn.conftest import SMALL, SPECS, M, N, make_episode

H = 3
FLOWING = replace(SMALL, flow=Flow(horizon=H))
CLONES = {"bc": Bc, "flow": FlowBc}


def leaves(tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


def batches_for(clone, key, rows=8) -> Batch:
    """Random rows of the person, for one step."""
    keys = jax.random.split(key, 3)
    seen = {NUMBERS: jax.random.normal(keys[0], (1, rows, N))}
    for view in clone.spec.views:
        shape, kind = clone.network.kept(view)
        shape = (1, rows, *shape)
        drawn = jax.random.bits if kind == jnp.uint8 else jax.random.normal
        seen[view.name] = drawn(keys[1], shape, kind)
    chunk = (clone.horizon,) if clone.horizon else ()
    action = jnp.tanh(jax.random.normal(keys[2], (1, rows, *chunk, M)))
    flat = jnp.zeros((1, rows))
    return Batch(seen, action, flat, flat, flat, seen)


# Losses


MEAN, LOG_STD, ACTION = [0.5, -2.0], [-1.0, 0.3], [1.0, -1.0]


def test_regression_is_the_gaussians_likelihood_times_its_variance():
    """By hand, as it is, under jit and under vmap."""
    var = np.exp(2.0 * np.array(LOG_STD))
    square = (np.array(ACTION) - np.tanh(MEAN)) ** 2
    expected = np.mean(var * (square / (2 * var) + np.array(LOG_STD)))
    args = [jnp.array(x) for x in (MEAN, LOG_STD, ACTION)]
    assert float(regression_loss(*args)) == pytest.approx(expected, abs=1e-6)
    assert float(jax.jit(regression_loss)(*args)) == pytest.approx(expected, abs=1e-6)
    batch = jax.vmap(regression_loss)(*(jnp.stack([x, x]) for x in args))
    assert np.asarray(batch) == pytest.approx([expected, expected], abs=1e-6)


def test_the_mean_learns_by_least_squares_whatever_the_deviation_is():
    mean, action = jnp.array(MEAN), jnp.array(ACTION)
    squares = jax.grad(lambda m: 0.5 * jnp.mean((action - jnp.tanh(m)) ** 2))(mean)
    for log_std in (-3.0, 0.0, 1.0):
        slope = jax.grad(regression_loss)(mean, jnp.full(2, log_std), action)
        assert np.asarray(slope) == pytest.approx(np.asarray(squares), rel=1e-4)


def test_the_deviation_rests_where_it_is_the_error():
    mean, action = jnp.array(MEAN), jnp.array(ACTION)
    log_std = jnp.log(jnp.abs(action - jnp.tanh(mean)))
    slope = jax.grad(regression_loss, 1)(mean, log_std, action)
    assert np.asarray(slope) == pytest.approx(np.zeros(2), abs=1e-6)


def test_a_whole_clones_loss_is_regression_of_the_arm_and_cross_entropy_of_the_gripper():
    clone = Bc(SPECS["gripper"], SMALL)
    weights = jax.jit(clone.init)(jax.random.key(0)).weights
    seen, action = {NUMBERS: jnp.arange(N) / N}, jnp.array([0.4, -1.0])  # the gripper is closed
    mean, log_std = map(jnp.asarray, clone.network.actor(clone.spec).apply(weights["actor"], seen))
    looked = clone.network.eyes.apply(weights["eyes"], seen)
    logits = np.asarray(clone.network.choice(clone.spec).apply(weights["choice"], looked), float)
    entropy = np.log(np.exp(logits).sum()) - logits[0]
    expected = float(regression_loss(mean, log_std, action[:1])) + entropy
    assert float(clone.loss(weights, seen, action)[0]) == pytest.approx(expected, abs=1e-5)
    assert float(jax.jit(clone.loss)(weights, seen, action)[0]) == pytest.approx(expected, abs=1e-5)
    two = jax.tree.map(lambda x: jnp.stack([x, x]), (seen, action))
    batch = jax.vmap(clone.loss, (None, 0, 0))(weights, *two)[0]
    assert np.asarray(batch) == pytest.approx([expected] * 2, abs=1e-5)


def test_a_flows_loss_is_that_of_its_velocity_at_a_point_drawn_on_the_line():
    clone = FlowBc(SPECS["numbers"], FLOWING)
    weights = jax.jit(clone.init)(jax.random.key(0)).weights
    seen, chunk, key = {NUMBERS: jnp.ones(N)}, jnp.linspace(-1, 1, H * M).reshape(H, M), 7
    noise_key, time_key = jax.random.split(jax.random.key(key))
    noise, t = jax.random.normal(noise_key, (H * M,)), jax.random.uniform(time_key)
    z = t * chunk.reshape(-1) + (1 - t) * noise
    looked = clone.network.eyes.apply(weights["eyes"], seen)
    field = clone.network.velocity(clone.spec)
    v, log_sigma = map(np.asarray, field.apply(weights["velocity"], looked, z, t))
    error = float(np.mean((np.asarray(chunk).reshape(-1) - np.asarray(noise) - v) ** 2))
    expected = error + error / (2 * np.exp(2 * float(log_sigma))) + float(log_sigma)
    args = weights, seen, chunk, jax.random.key(key)
    assert float(clone.loss(*args)[0]) == pytest.approx(expected, abs=1e-4)
    assert float(jax.jit(clone.loss)(*args)[0]) == pytest.approx(expected, abs=1e-4)
    two = jax.tree.map(lambda x: jnp.stack([x, x]), args[1:])
    batch = jax.vmap(clone.loss, (None, 0, 0, 0))(weights, *two)[0]
    assert np.asarray(batch) == pytest.approx([expected] * 2, abs=1e-4)


# What moves and what does not


@pytest.mark.parametrize(
    ("method", "trunk"),
    [
        ("bc", "mirror"),
        ("flow", "mirror"),
        pytest.param("bc", NO_TRUNK, marks=pytest.mark.slow),  # convolutions take long to compile
        pytest.param("flow", NO_TRUNK, marks=pytest.mark.slow),
    ],
)
def test_a_step_trains_the_image_heads_too(method, trunk):
    """Every array of every eye, of arm and gripper: the defect that makes a baseline blind and easy to beat."""
    size = 32 if trunk == NO_TRUNK else 128
    one = replace(SPECS["gripper"], views=(View("front", size, size),))
    clone = CLONES[method](one, replace(FLOWING, trunk=trunk))
    state = jax.jit(clone.init)(jax.random.key(0))
    before = jax.tree.map(np.array, state.weights)
    after, info = jax.jit(clone.step)(state, batches_for(clone, jax.random.key(1)))
    flat = jax.tree_util.tree_leaves_with_path(after.weights)
    eyes = {
        jax.tree_util.keystr(path): np.array_equal(old, new)
        for (path, new), old in zip(flat, leaves(before), strict=True)
        if "front" in jax.tree_util.keystr(path)
    }
    assert any("places" in name for name in eyes)
    assert any("Conv" in name for name in eyes) == (trunk == NO_TRUNK)
    assert not [name for name, is_same in eyes.items() if is_same]
    assert all(np.isfinite(float(value)) for value in info.values())


def test_what_acts_is_the_newest_at_first_and_a_slow_average_later():
    served, weights = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}

    def share(steps):
        return float(averaged(served, weights, jnp.asarray(steps, jnp.int32), 0.005)["w"][0])

    assert share(0) == 1.0
    assert share(15) == pytest.approx(16**-0.75)
    assert share(10**6) == pytest.approx(0.005)


# Rows


def memory_of(spec, *episodes):
    replay = Replay(spec, 1000)
    for episode in episodes:
        replay.add(episode)
    device = DeviceReplay(replay, Network((16,)))
    device.sync()
    return device.memory


def test_clones_see_only_rows_of_the_person(spec):
    memory = memory_of(
        spec,
        make_episode(spec, 0, "demonstration", 20),
        make_episode(spec, 1, "practice", 20, person=range(5, 9)),
    )
    batch = sample(memory, jax.random.key(0), 3, 64, person_only=True)
    index, step = np.asarray(batch.observation[NUMBERS])[..., :2].reshape(-1, 2).T
    assert batch.action.shape == (3, 64, M)
    assert set(step[index == 1]) == {5, 6, 7, 8}
    assert set(step[index == 0]) == set(range(20))


def test_a_chunk_is_what_the_person_did_next_and_never_the_policys_or_another_episodes(spec):
    episodes = [
        make_episode(spec, 0, "demonstration", 6),
        make_episode(spec, 1, "demonstration", 4),
        make_episode(spec, 2, "practice", 12, person=(2, 3, 4, 7, 11)),
    ]
    memory = memory_of(spec, *episodes)
    batch = sample(memory, jax.random.key(0), 2, 256, person_only=True, horizon=H)
    assert batch.action.shape == (2, 256, H, M)
    seen = np.asarray(batch.observation[NUMBERS]).reshape(-1, N)
    for (index, step), chunk in zip(
        seen[:, :2].astype(int), np.asarray(batch.action).reshape(-1, H, M), strict=True
    ):
        steps, at = episodes[index].steps, step
        for action in chunk:
            assert action == pytest.approx(steps[at].action, abs=1e-6)
            is_next = at + 1 < len(steps) and steps[at + 1].who == Who.PERSON
            at += is_next
    assert {(2, 4), (2, 7), (2, 11), (0, 5), (1, 3)} <= {tuple(row) for row in seen[:, :2]}


@pytest.mark.parametrize("method", ["flow", "hg_dagger"])
def test_what_the_policy_did_changes_nothing_of_what_a_clone_learns(spec, method):
    def learned(sign):
        learner = Learner(spec, FLOWING, 0, 1000, method)
        practice = make_episode(spec, 1, "practice", 15, person=range(5, 9))
        steps = [
            step if step.who == Who.PERSON else replace(step, action=sign * step.action)
            for step in practice.steps
        ]
        learner.add([make_episode(spec, 0, "demonstration", 15)])
        learner.add([replace(practice, steps=tuple(steps))])
        learner.train(2)
        return learner.state.weights

    assert equal(learned(1.0), learned(-1.0))


def test_what_the_person_corrects_changes_it(spec):
    def learned(person):
        learner = Learner(spec, SMALL, 0, 1000, "hg_dagger")
        learner.add([make_episode(spec, 0, "demonstration", 15)])
        learner.add([make_episode(spec, 1, "practice", 15, person)])
        learner.train(2)
        return learner.state.weights

    assert not equal(learned(()), learned(range(5, 9)))


# What is learned and served


QUICK = replace(FLOWING, widths=(64, 64), batch=64, rate=3e-3)


def shown(spec, index=0, length=12):
    """A demonstration whose actions are a function of time: out, then back; a gripper closes in between."""
    episode = make_episode(spec, index, "demonstration", length)
    half = np.arange(length) < length // 2
    actions = np.stack([np.where(half, 0.8, -0.4), np.where(half, 1.0, -1.0)], -1)
    steps = tuple(
        replace(step, action=action) for step, action in zip(episode.steps, actions, strict=True)
    )
    return replace(episode, steps=steps), actions


@pytest.mark.parametrize(("method", "kind"), [("bc", "gripper"), ("flow", "gripper")])
def test_a_clone_does_what_it_was_shown(tmp_path, method, kind):
    spec = SPECS[kind]
    episode, actions = shown(spec)
    learner = Learner(spec, QUICK, 0, 1000, method)
    learner.add([episode])
    learner.train(600)
    path = policies.publish(tmp_path, 0, learner.acting, learner.algorithm.network, spec)
    policy = policies.load(path, spec)
    found = np.stack([policy.act(seen, None) for seen in episode.observations[:-1]])
    assert np.abs(found - actions).mean() < 0.1
    assert np.array_equal(
        found[:, 1], actions[:, 1]
    )  # a gripper is open or closed, nothing between


def test_a_clone_does_the_same_in_practice(tmp_path, spec):
    """HG-DAgger's novice acts as it has learned; the person explores."""
    learner = Learner(spec, SMALL, 0, 1000, "hg_dagger")
    policy = policies.load(
        policies.publish(tmp_path, 0, learner.acting, learner.algorithm.network, spec), spec
    )
    seen = np.ones(N, np.float32)
    assert np.array_equal(policy.act(seen, np.random.default_rng(0)), policy.act(seen, None))


def flowing(spec, folder, **flow):
    config = replace(SMALL, flow=Flow(horizon=4, **flow))
    learner = Learner(spec, config, 0, 1000, "flow")
    path = policies.publish(folder, 0, learner.acting, learner.algorithm.network, spec)
    return learner, policies.load(path, spec)


def test_a_flow_follows_its_chunk_and_forgets_it_with_the_episode(tmp_path, spec):
    _, policy = flowing(spec, tmp_path, execution=Execution("open", most=3))
    here, there = np.ones(N, np.float32), -np.ones(N, np.float32)
    chunk = policy.chunk(here, None, {})
    assert chunk.shape == (4, M) and np.abs(chunk).max() <= 1.0
    policy.begin()
    acted = [policy.act(here, None), policy.act(there, None)]
    assert np.array_equal(acted, chunk[:2])  # it goes on with its plan, whatever it sees
    policy.begin()
    assert np.array_equal(policy.act(there, None), policy.chunk(there, None, {})[0])


def test_a_flow_repeats_itself_without_a_draw_and_varies_with_one(tmp_path, spec):
    _, policy = flowing(spec, tmp_path)
    seen = np.ones(N, np.float32)
    assert np.array_equal(policy.chunk(seen, None, {}), policy.chunk(seen, None, {}))
    drawn = [policy.chunk(seen, np.random.default_rng(i), {}) for i in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_a_flow_without_a_draw_is_as_varied_as_what_it_learned(spec):
    """Not one side of it: noise follows the observation's bits, so neighbouring ticks differ."""
    clone = FlowBc(spec, FLOWING)
    weights = jax.jit(clone.init)(jax.random.key(0)).weights
    near = jnp.ones((200, N)) + 1e-5 * jnp.arange(200.0)[:, None]

    def plan(one, key):
        return clone.network.plan(spec, weights, {NUMBERS: one}, key)[0][0]

    own = np.asarray(jax.jit(jax.vmap(lambda one: plan(one, None)))(near))
    drawn = np.asarray(jax.jit(jax.vmap(plan))(near, jax.random.split(jax.random.key(1), 200)))
    assert own.std(0) == pytest.approx(drawn.std(0), rel=0.25)
    assert own.mean(0) == pytest.approx(drawn.mean(0), abs=0.25)


def test_plans_of_a_batch_are_those_of_each(spec):
    clone = FlowBc(spec, replace(FLOWING, flow=Flow(horizon=H, eta=0.3)))
    weights = jax.jit(clone.init)(jax.random.key(0)).weights
    seen = {NUMBERS: jax.random.normal(jax.random.key(1), (8, N))}

    def plan(one):
        return clone.network.plan(spec, weights, one, None)

    chunks, steps = jax.jit(jax.vmap(plan))(seen)
    single = jax.jit(plan)
    for i in range(8):
        chunk, count = single({NUMBERS: seen[NUMBERS][i]})
        assert int(count) == int(steps[i])
        assert np.asarray(chunk) == pytest.approx(np.asarray(chunks[i]), abs=1e-5)


# Bad input


def test_a_kind_of_policy_that_is_not_known_is_one_line(tmp_path, spec):
    learner = Learner(spec, SMALL, 0, 1000, "bc")
    meta = {"network": {**learner.algorithm.network.as_dict(), "kind": "diffusion"}}
    path = params.save(tmp_path, 0, policies.flatten(learner.acting), spec, meta)
    with pytest.raises(UnknownName, match='no kind of policy "diffusion"; there are: flow, gauss'):
        policies.load(path, spec)


def test_weights_of_another_kind_are_refused(tmp_path, spec):
    _, policy = flowing(spec, tmp_path)
    other = Learner(spec, SMALL, 0, 1000, "bc")
    path = policies.publish(tmp_path, 1, other.acting, other.algorithm.network, spec)
    with pytest.raises(RobostackError, match="gaussian.*flow"):
        policy.ready(params.load(path))


@pytest.mark.parametrize("changes", [{"horizon": 0}, {"steps": 0}, {"eta": -0.1}])
def test_impossible_choices_of_a_flow_are_refused(changes):
    with pytest.raises(BadValue, match=f"flow.{next(iter(changes))}"):
        Flow(**changes)


def test_every_method_has_its_algorithm():
    assert set(CLONING) < set(MAKERS)
    assert euler.END < 1.0
