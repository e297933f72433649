"""The flow's arithmetic, by hand; its steps; and two routes, where the mean of both is the obstacle."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from robostack.learn import euler
from robostack.learn.euler import Velocity, between, integrate, losses, step_size


def test_a_line_from_noise_to_action_has_one_velocity():
    action, noise = jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0])
    z, velocity = between(action, noise, jnp.asarray(0.25))
    assert np.asarray(z).tolist() == [0.25 * 1.0 + 0.75 * 0.5, 0.25 * -2.0 + 0.75 * 2.0]
    assert np.asarray(velocity).tolist() == [0.5, -4.0]
    assert np.asarray(z + 0.75 * velocity).tolist() == pytest.approx([1.0, -2.0])


WANTED, GOT = [1.0, -1.0, 0.0], [0.0, -1.0, 2.0]  # mean squared error 5 / 3


@pytest.mark.parametrize("log_sigma", [0.0, -0.7, 0.4])
def test_losses_are_the_mean_square_and_the_likelihood_of_its_size(log_sigma):
    expected = 5 / 3, 5 / 3 / (2 * np.exp(log_sigma) ** 2) + log_sigma
    args = jnp.array(WANTED), jnp.array(GOT), jnp.asarray(log_sigma)
    assert [float(x) for x in losses(*args)] == pytest.approx(expected, rel=1e-5)
    assert [float(x) for x in jax.jit(losses)(*args)] == pytest.approx(expected, rel=1e-5)
    batch = jax.vmap(losses)(*(jnp.stack([x, 2.0 * x]) for x in args))
    assert [float(x[0]) for x in batch] == pytest.approx(expected, rel=1e-5)
    assert float(batch[0][1]) == pytest.approx(4 * 5 / 3, rel=1e-5)


def test_the_skipped_part_is_the_best_line_through_gaussian_actions():
    """By least squares over samples."""
    rng = np.random.default_rng(0)
    action, noise = euler.SPREAD * rng.normal(size=200_000), rng.normal(size=200_000)
    for t in (0.0, 0.3, 0.8, 1.0):
        z = t * action + (1 - t) * noise
        assert float(euler.skip(jnp.asarray(t))) == pytest.approx(
            np.mean(z * (action - noise)) / np.mean(z * z), abs=0.02
        )


def test_the_likelihood_is_least_where_sigma_is_the_error():
    args = jnp.array(WANTED), jnp.array(GOT)
    slope = jax.grad(lambda s: losses(*args, s)[1])(0.5 * jnp.log(5 / 3))
    assert float(slope) == pytest.approx(0.0, abs=1e-5)


def test_the_likelihood_never_moves_the_velocity_and_the_error_never_sigma():
    field = Velocity(3, (8, 8))
    seen, z, t = jnp.ones(2), jnp.array([0.1, 0.2, 0.3]), jnp.asarray(0.4)
    weights = jax.jit(field.init)(jax.random.key(0), seen, z, t)

    def loss(weights, which):
        velocity, log_sigma = map(jnp.asarray, field.apply(weights, seen, z, t))
        return losses(jnp.array(WANTED), velocity, log_sigma)[which]

    slopes = jax.jit(jax.grad(loss), static_argnums=1)
    moved = [
        {
            name
            for name, leaf in jax.tree_util.tree_leaves_with_path(slopes(weights, which))
            if np.any(np.asarray(leaf))
        }
        for which in (0, 1)
    ]
    assert moved[0] and moved[1] and not moved[0] & moved[1]


@pytest.mark.parametrize(
    ("sigma", "t", "eta", "most", "expected"),
    [
        (0.01, 0.0, 0.1, 20, 1.0),  # sure: to the end at once
        (1.0, 0.0, 0.1, 20, 0.1),
        (100.0, 0.0, 0.1, 20, 0.05),  # never less than 1 / most
        (1.0, 0.97, 0.1, 20, 0.03),  # never beyond the end
        (0.01, 0.5, 0.0, 10, 0.1),  # eta 0: equal steps
    ],
)
def test_steps_are_as_long_as_the_flow_is_sure(sigma, t, eta, most, expected):
    got = step_size(jnp.log(sigma), jnp.asarray(t), eta, most)
    assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("most", [1, 3, 7, 10, 20, 50])
def test_equal_steps_are_exactly_so_many(most):
    def field(z, t):
        return jnp.ones(2), jnp.zeros(())

    action, steps = integrate(field, jnp.zeros(2), 0.0, most)
    assert int(steps) == most and np.asarray(action) == pytest.approx(np.ones(2), abs=1e-5)


def by_place(z, t):
    """Sure where the first entry of z is small, else not."""
    return 0.5 - z, jnp.where(jnp.abs(z[0]) < 1.0, -5.0, 0.0)


def test_a_batch_takes_each_examples_own_steps_and_ends_where_each_would():
    noise = 2.0 * jax.random.normal(jax.random.key(0), (16, 3))

    def flow(n):
        return integrate(by_place, n, 0.1, 20)

    actions, steps = jax.jit(jax.vmap(flow))(noise)
    alone = [jax.jit(flow)(n) for n in noise]
    assert [int(s) for _, s in alone] == np.asarray(steps).tolist()
    assert len(set(np.asarray(steps).tolist())) > 1
    for action, (single, _) in zip(np.asarray(actions), alone, strict=True):
        assert action == pytest.approx(np.asarray(single), abs=1e-6)


# Two routes. A point comes from the left, y near 0, and has to pass an obstacle at x in [0.4, 0.6], |y| < 0.2. Whoever
# showed it went by +0.4 or by -0.4, as often. Beyond the obstacle all go back to y = 0: one action for each place.
# Observation (x, y), action (y at the next gate).


def shown(key, rows):
    keys = jax.random.split(key, 4)
    is_before = jax.random.bernoulli(keys[0], 0.5, (rows,))
    x = jnp.where(is_before, 0.0, 1.0)
    y = jnp.where(is_before, 0.1, 0.4) * jax.random.uniform(keys[1], (rows,), minval=-1.0)
    side = jnp.where(jax.random.bernoulli(keys[2], 0.5, (rows,)), 0.4, -0.4)
    return jnp.stack([x, y], -1), jnp.where(is_before, side, -0.5 * y)[:, None]


FIELD = Velocity(1, (32, 32))
STEPS = 1500


def at(weights, seen, z, t) -> tuple[jax.Array, jax.Array]:
    velocity, log_sigma = FIELD.apply(weights, seen, z, t)
    return jnp.asarray(velocity), jnp.asarray(log_sigma)


BEFORE = jnp.stack([jnp.zeros(400), jnp.linspace(-0.1, 0.1, 400)], -1)
BEYOND = jnp.stack([jnp.ones(400), jnp.linspace(-0.4, 0.4, 400)], -1)


def trained() -> dict:
    """A flow that saw the two routes."""

    def loss(weights, key):
        keys = jax.random.split(key, 3)
        seen, action = shown(keys[0], 256)
        noise, t = jax.random.normal(keys[1], action.shape), jax.random.uniform(keys[2], (256,))
        z, wanted = jax.vmap(between)(action, noise, t)
        velocity, log_sigma = jax.vmap(at, (None, 0, 0, 0))(weights, seen, z, t)
        return sum(jnp.mean(each) for each in jax.vmap(losses)(wanted, velocity, log_sigma))

    adam = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))

    def update(carry, key):
        weights, optimizer = carry
        updates, optimizer = adam.update(jax.grad(loss)(weights, key), optimizer)
        return (optax.apply_updates(weights, updates), optimizer), None

    weights = jax.jit(FIELD.init)(jax.random.key(0), BEFORE[0], jnp.zeros(1), jnp.zeros(()))
    keys = jax.random.split(jax.random.key(1), STEPS)
    return jax.jit(lambda c: jax.lax.scan(update, c, keys)[0])((weights, adam.init(weights)))[0]


@pytest.fixture(scope="module")
def flown() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Actions and steps, before the obstacle (400) and beyond it (400), each from noise of its own."""
    with jax.numpy_rank_promotion("raise"):
        weights = trained()
        places = jnp.concatenate([BEFORE, BEYOND])
        noise = jax.random.normal(jax.random.key(2), (len(places), 1))

        def drawn(eta, most):
            def one(seen, n):
                return integrate(lambda z, t: at(weights, seen, z, t), n, eta, most)

            actions, steps = jax.jit(jax.vmap(one))(places, noise)
            return np.asarray(actions)[:, 0], np.asarray(steps)

        return {"adaptive": drawn(0.1, 20), "ten": drawn(0.0, 10), "one": drawn(0.0, 1)}


def passed(actions: np.ndarray) -> float:
    """Share of places before the obstacle that go round it."""
    return float(np.mean(np.abs(actions[:400]) > 0.2))


def success(actions: np.ndarray) -> float:
    beyond = np.abs(actions[400:] + 0.5 * np.asarray(BEYOND[:, 1])) < 0.1
    return (passed(actions) + float(np.mean(beyond))) / 2


def test_a_flow_passes_on_both_sides_where_least_squares_collides(flown):
    actions, _ = flown["adaptive"]
    assert passed(actions) > 0.9 and 0.3 < np.mean(actions[:400] > 0) < 0.7
    place, way = (np.asarray(x) for x in shown(jax.random.key(3), 4000))
    assert abs(way[place[:, 0] == 0.0].mean()) < 0.2  # the best that one answer can do there


def test_adaflow_is_as_good_as_ten_steps_with_at_most_half_of_them(flown):
    """Card B30's direction, over the whole way: the two-sided place and the one-sided one."""
    (actions, taken), (fixed, ten) = flown["adaptive"], flown["ten"]
    print(success(actions), success(fixed), taken[:400].mean(), taken[400:].mean())
    assert success(actions) >= success(fixed) - 0.02
    assert (ten == 10).all() and taken.mean() <= 5.0


def test_a_state_with_one_action_takes_one_step_and_one_with_two_takes_several(flown):
    _, taken = flown["adaptive"]
    assert np.median(taken[400:]) == 1 and taken[400:].mean() < 1.5
    assert np.median(taken[:400]) >= 3


def test_one_step_is_not_enough_where_there_are_two_actions(flown):
    """So the variance is worth listening to."""
    assert passed(flown["one"][0]) < 0.3


def test_the_network_listens_to_the_time():
    times = jnp.linspace(0.0, 1.0, 11)
    weights = jax.jit(FIELD.init)(jax.random.key(0), BEFORE[0], jnp.zeros(1), times[0])
    found = jax.vmap(lambda t: FIELD.apply(weights, BEFORE[0], jnp.zeros(1), t)[0])(times)
    assert len(np.unique(np.asarray(found))) == 11
