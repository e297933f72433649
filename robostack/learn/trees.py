"""A learner's state as named arrays and back, exactly: weights, optimizers, counters, random keys."""

from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from robostack.core.errors import RobostackError

T = TypeVar("T")


def to_arrays(tree: object) -> dict[str, np.ndarray]:
    """Copies on the host by path, "critic/params/Dense_0/kernel". A random key is its data, its kind in the name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    # A copy: the leaves' memory is given to the next learner step.
    return {_name(path, leaf): np.array(_data(leaf), copy=True) for path, leaf in leaves}


def from_arrays(arrays: Mapping[str, np.ndarray], fresh: T, what: str) -> T:
    """The tree that `to_arrays` took apart. `fresh` is one of the same choices: names, shapes and types must be its.

    Raises RobostackError with the first difference, said of `what`.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(fresh)
    names = [_name(path, leaf) for path, leaf in leaves]
    for missing, where in ((set(names) - set(arrays), "lacks"), (set(arrays) - set(names), "has")):
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise RobostackError(
                f"{what} {where} {min(missing)}{rest}; it was made with another robostack or config"
            )
    for name, (_, leaf) in zip(names, leaves, strict=True):
        got, expected = arrays[name], _data(leaf)
        if (got.shape, got.dtype) != (expected.shape, expected.dtype):
            raise RobostackError(
                f"{what}: {name} is {got.dtype}{list(got.shape)}, "
                f"expected {expected.dtype}{list(expected.shape)}; it was made with another config"
            )
    pairs = zip(names, leaves, strict=True)
    return structure.unflatten([_leaf(arrays[name], leaf) for name, (_, leaf) in pairs])


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(path: tuple, leaf: jax.Array) -> str:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return f"{name}:{jax.random.key_impl(leaf)}" if _is_key(leaf) else name


def _data(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _leaf(array: np.ndarray, like: jax.Array) -> jax.Array:
    value = jnp.array(array, copy=True)  # in memory of JAX's own, aligned as it likes
    return (
        jax.random.wrap_key_data(value, impl=jax.random.key_impl(like)) if _is_key(like) else value
    )
