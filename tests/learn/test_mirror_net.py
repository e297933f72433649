"""The mirror's trunk: its arithmetic, how it is learned, and what a straight line reads from the shipped weights."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core import catalog
from robostack.core.errors import BadValue
from robostack.learn import mirror_net, pretraining, trunks
from robostack.learn.mirror_net import SIZE, MirrorNet
from robostack.learn.pretraining import DEPTH, KNOWN, PAD, READ, Batch, Heads, Pretrainer

MOST_BYTES = 4e6


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


APPLY = jax.jit(MirrorNet().apply)


def features(weights, seen) -> np.ndarray:
    return np.asarray(APPLY(weights, seen))


@cache
def fresh() -> Any:
    return jax.jit(MirrorNet().init)(jax.random.key(1), jnp.zeros((1, SIZE, SIZE, 3), jnp.uint8))


@cache
def shipped() -> trunks.Trunk:
    return trunks.load("mirror")


def test_a_softmax_over_a_map_gives_the_place_of_its_peak():
    maps = np.zeros((1, 4, 8, 2), np.float32)
    maps[0, 3, 0, 0] = maps[0, 0, 6, 1] = 50.0
    # Middles of cells: left column at -7/8, seventh at 5/8; bottom row at 3/4, top at -3/4.
    expected = [[-0.875, 0.625, 0.75, -0.75]]
    np.testing.assert_allclose(mirror_net.places(jnp.array(maps)), expected, atol=1e-6)


def test_an_even_map_points_at_the_middle():
    np.testing.assert_allclose(
        mirror_net.places(jnp.ones((1, 4, 4, 3))), np.zeros((1, 6)), atol=1e-6
    )


def test_patches_hold_each_pixel_once_and_keep_neighbours_together():
    x = np.arange(2 * 8 * 12 * 3, dtype=np.float32).reshape(2, 8, 12, 3)
    got = np.asarray(mirror_net.patches(jnp.array(x)))
    assert got.shape == (2, 2, 3, 48)
    assert np.array_equal(got[1, 1, 2].reshape(4, 4, 3), x[1, 4:8, 8:12])


def test_bytes_and_floats_are_the_same_picture():
    seen = pictures(2)
    as_floats = seen.astype(np.float32) / 255.0
    np.testing.assert_allclose(features(fresh(), seen), features(fresh(), as_floats), atol=1e-5)


def test_features_are_equal_for_one_and_many_jit_and_not():
    weights, seen = shipped().weights, pictures(3)
    many = features(weights, seen)
    assert many.shape == (3, 4, 4, mirror_net.CHANNELS) and many.dtype == np.float32
    one = np.stack([features(weights, picture) for picture in seen])
    mapped = np.asarray(jax.jit(jax.vmap(MirrorNet().apply, (None, 0)))(weights, seen))
    unjitted: Any = MirrorNet().apply(weights, seen)
    for other in (one, mapped, unjitted):
        np.testing.assert_allclose(other, many, atol=2e-4)


def test_other_sizes_are_refused_with_what_to_do():
    with pytest.raises(BadValue, match="128 x 128 px, got 64 x 128"):
        MirrorNet().init(jax.random.key(0), jnp.zeros((1, 64, 128, 3), jnp.uint8))


def test_shipped_weights_are_small_and_those_of_the_network():
    path = trunks.path_of("mirror")
    assert path.stat().st_size <= MOST_BYTES
    labels, arrays = trunks.read(path)
    trunks.check("mirror", arrays, "the shipped file")
    assert labels["trunk"] == "mirror" and "robostack pretrain" in labels["source"]
    assert sum(array.size for array in arrays.values()) < 1e6


def test_one_array_less_is_refused_by_name():
    _, arrays = trunks.read(trunks.path_of("mirror"))
    del arrays["params/stem/kernel"]
    with pytest.raises(trunks.WrongWeights, match="lacks params/stem/kernel"):
        trunks.check("mirror", arrays, "a file")


# How it is learned.


def batch(count: int = 2, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    labels = rng.uniform(-0.02, 0.02, (count, KNOWN)).astype(np.float32)
    labels[:, [8, 17]] = 1.0
    depth = rng.uniform(-2, 0, (count, DEPTH, DEPTH)).astype(np.float32)
    return Batch(pictures(count, seed), labels, depth, np.zeros(count, np.int32))


def test_huber_is_square_then_linear():
    error = jnp.array([0.0, 0.025, -0.05, 1.0, -2.0])
    expected = [0.0, 0.00625, 0.025, 0.975, 1.975]
    np.testing.assert_allclose(pretraining.huber(error), expected, atol=1e-6)


def test_targets_are_those_computed_by_hand():
    #        x     y     z    sin  cos  u    v     far   seen
    target = [0.03, -0.01, 0.3, 0.1, 0.9, 0.5, -0.5, -1.0, 1.0]
    thing = [0.0, 0.01, -0.3, 0.0, 1.0, 0.1, 0.2, -0.5, 0.0]
    wanted, counts = pretraining.targets(jnp.array([*target, *thing, 0.2, 0.1, -2.0]))
    near, nearer = np.tanh([3.0, -1.0, 30.0]), np.tanh([0.0, 1.0, -30.0])
    expected = [1.0, -1 / 3, 4.0, *near, 0.5, 0.9, 0.5, -0.5, -1.0]  # far away is cut at 4
    expected += [0.0, 1 / 3, -4.0, *nearer, 0.0, 1.0, 0.1, 0.2, -0.5, 0.2, 0.1, -2.0]
    np.testing.assert_allclose(wanted, expected, atol=1e-6)
    np.testing.assert_allclose(counts, [1.0] * 11 + [0.1] * 11 + [1.0] * 3)


def test_the_loss_is_the_sum_computed_by_hand():
    trainer = Pretrainer(heads=2, steps=1, seed=0)
    weights = jax.tree.map(lambda leaf: leaf, trainer.weights)
    read = jnp.zeros_like(weights["heads"]["params"]["read"]["kernel"])
    weights["heads"]["params"]["read"]["kernel"] = read
    weights["heads"]["params"]["depth"]["kernel"] *= 0.0
    bias = np.arange(2 * READ, dtype=np.float32) / 10
    weights["heads"]["params"]["read"]["bias"] = jnp.array(bias)
    some = batch(2)._replace(head=np.array([1, 0], np.int32))
    got = jax.jit(lambda w, b: pretraining.loss(w, trainer.net, trainer.heads, b))(weights, some)
    wanted, counts = (np.asarray(part) for part in pretraining.targets(jnp.array(some.labels)))
    error = np.abs(np.stack([bias[READ:], bias[:READ]]) - wanted)
    each = np.where(error < 0.05, error**2 / 0.1, error - 0.025) * counts
    expected = each.sum(1).mean() + np.abs(some.depth).mean()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_shift_moves_picture_and_labels_together():
    seen = np.zeros((8, SIZE, SIZE, 3), np.uint8)
    seen[:, 40, 90] = 255
    labels = np.zeros((8, KNOWN), np.float32)
    pixels = [(5, 6), (14, 15), (18, 19)]  # of target, object and tool
    for pair in pixels:
        labels[:, pair] = (90.5 - 64) / 64, (40.5 - 64) / 64
    some = batch(8)._replace(pictures=jnp.array(seen), labels=jnp.array(labels))
    moved = pretraining.shifted(some, jax.random.key(0))
    places = set()
    for picture, label in zip(np.asarray(moved.pictures), np.asarray(moved.labels), strict=True):
        ((v, u),) = np.argwhere(picture[..., 0])
        for pair in pixels:
            np.testing.assert_allclose(64 + 64 * label[[*pair]], [u + 0.5, v + 0.5], atol=1e-3)
        assert not np.delete(label, np.ravel(pixels)).any()
        assert max(abs(u - 90), abs(v - 40)) <= PAD
        places.add((u, v))
    assert len(places) > 4


def test_depth_tiles_stand_where_they_are_seen():
    """A head whose bias numbers the places of a tile: rows of 4 x 4 tiles, not a list of 16 numbers."""
    heads = Heads(1)
    nothing = jnp.zeros((1, 4, 4, 8))
    weights: Any = heads.init(jax.random.key(0), nothing, jnp.zeros(1, jnp.int32))
    weights["params"]["depth"]["bias"] = jnp.arange(16.0)
    got: Any = heads.apply(weights, nothing, jnp.zeros(1, jnp.int32))
    assert np.array_equal(got[1][0], np.tile(np.arange(16.0).reshape(4, 4), (4, 4)))


def test_learning_lowers_the_loss_from_given_weights_and_leaves_those_as_they_are():
    some, kept = batch(2), jax.tree.map(np.array, fresh())
    given = jax.tree.map(jnp.array, kept)
    trainer = Pretrainer(heads=1, steps=40, seed=0, start=given)
    assert jax.tree.all(jax.tree.map(np.array_equal, kept, trainer.weights["net"]))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an int32 count
        first, *_, last = [float(trainer.step(some)) for _ in range(20)]
    assert last < 0.8 * first
    assert jax.tree.all(jax.tree.map(np.array_equal, kept, given))
    assert not np.array_equal(
        kept["params"]["stem"]["kernel"], trainer.weights["net"]["params"]["stem"]["kernel"]
    )


# What the shipped weights know.


@cache
def seen_at_work(seed: int, moments: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (moments, SIZE, SIZE, 3) of the wrist camera and target positions in the tool frame (moments, 3), m."""
    pytest.importorskip("mujoco")
    from robostack.twin.sights import Sights

    sights = Sights(catalog.task("peg_insert"), catalog.robot("fr3"), SIZE, seed)
    shots = [
        sights.look(cell, "wrist_camera", changed=False, off_path=False)
        for _, cell in zip(range(moments), sights.moments(), strict=False)
    ]
    sights.close()
    return np.stack([s.picture for s in shots]), np.stack(
        [s.labels["target_position"] for s in shots]
    )


def misses(weights, learned: int = 320, moments: int = 400) -> np.ndarray:
    """mm, by which a ridge regression on `learned` moments' features misses the position in the others."""
    seen, position = seen_at_work(1234, moments)
    apply = jax.jit(MirrorNet().apply)
    parts = [np.asarray(apply(weights, some)) for some in np.split(seen, moments // 80)]
    x = np.concatenate(parts).reshape(moments, -1).astype(float)
    x = (x - x[:learned].mean(0)) / (x[:learned].std(0) + 1e-6)
    middle = position[:learned].mean(0)
    gram = x[:learned] @ x[:learned].T + 100.0 * np.eye(learned)
    read = x[learned:] @ x[:learned].T @ np.linalg.solve(gram, position[:learned] - middle)
    return np.linalg.norm(read + middle - position[learned:], axis=1) * 1e3


def test_a_straight_line_reads_the_hole_from_the_shipped_features():
    trained, untrained = misses(shipped().weights), misses(fresh())
    assert np.median(trained) < 4.0
    assert np.median(trained) < 0.5 * np.median(untrained)
