"""ResNet-10: the published layout, and the numbers that it gives, against sums written out in numpy."""

from collections import Counter
from typing import Any

import jax
import numpy as np
import pytest
from flax import traverse_util

from robostack.learn.resnet import ResNet10
from tests.learn import published

SMALL = (8, 16)
NET = ResNet10(SMALL)


@pytest.fixture(autouse=True)
def strict_dtypes():
    with jax.numpy_dtype_promotion("strict"):
        yield


def nested(made):
    return {"params": traverse_util.unflatten_dict(made, sep="/")}


@jax.jit
def apply(made, seen) -> Any:
    return NET.apply(made, seen)


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_names_and_shapes_are_the_published_ones():
    made: Any = jax.eval_shape(ResNet10().init, jax.random.key(0), picture(1, 128, 128))
    flat: Any = traverse_util.flatten_dict(made["params"], sep="/")
    assert {name: leaf.shape for name, leaf in flat.items()} == published.layout()
    # What others count in the published file: https://github.com/rail-berkeley/serl/releases/tag/resnet10
    assert (len(flat), sum(leaf.size for leaf in flat.values())) == (36, 4_905_792)


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_features_are_those_computed_by_hand(size):
    made = published.weights(1, SMALL)
    seen = picture(*size)
    got = apply(nested(made), seen[None])[0]
    expected = published.features(made, seen)
    assert got.shape == expected.shape and got.dtype == np.float32
    assert np.abs(expected).mean() > 0.1
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_where_a_picture_hardly_varies_epsilon_decides():
    made = published.weights(1, SMALL)
    made["conv_init/kernel"] *= 0.003
    seen = picture(32, 32)
    expected = published.features(made, seen)
    np.testing.assert_allclose(apply(nested(made), seen[None])[0], expected, atol=2e-4)


def test_every_parameter_is_used_exactly_once():
    made = nested(published.weights(1, SMALL))
    leaves, tree = jax.tree.flatten(made)
    program = jax.make_jaxpr(lambda *w: NET.apply(tree.unflatten(w), picture(1, 32, 32)))(*leaves)
    used = Counter(id(v) for step in program.jaxpr.eqns for v in step.invars)
    assert [used[id(v)] for v in program.jaxpr.invars] == [1] * len(leaves)


def test_every_parameter_moves_the_features():
    made, seen = nested(published.weights(1, SMALL)), picture(1, 32, 32)
    slopes = jax.jit(jax.grad(lambda w: (apply(w, seen) ** 2).sum()))(made)
    assert all(np.abs(slope).max() > 0 for slope in jax.tree.leaves(slopes))


def test_red_is_not_blue():
    made, seen = nested(published.weights(1, SMALL)), picture(1, 32, 32)
    assert not np.allclose(apply(made, seen), apply(made, seen[..., ::-1]), atol=0.01)
