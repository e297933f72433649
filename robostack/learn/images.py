"""Pictures on the accelerator: random shifts, and their features, computed once."""

import jax
import jax.numpy as jnp

from robostack.learn.trunks import Trunk


def shift(pictures: jax.Array, keys: jax.Array, pad: int = 4) -> jax.Array:
    """Pictures (B, H, W, C) moved by up to `pad` px each way, one draw for each key (B,); edges are repeated.

    DrQ (Kostrikov et al., arXiv 2004.13649), section 4.1.
    """

    def moved(picture: jax.Array, key: jax.Array) -> jax.Array:
        wide = jnp.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        at = jax.random.randint(key, (2,), 0, 2 * pad + 1)
        return jax.lax.dynamic_slice(wide, (at[0], at[1], 0), picture.shape)

    return jax.vmap(moved)(pictures, keys)


def crops(trunk: Trunk, weights: dict, pictures: jax.Array, key: jax.Array, count: int, pad: int):
    """(B, count, h, w, C) bfloat16 features of pictures (B, H, W, 3) uint8, each shifted `count` times.

    The first is not shifted: it is what the actor sees.
    """
    rows = len(pictures)
    keys = jax.random.split(key, (max(1, count - 1), rows))
    shifted = [shift(pictures, each, pad) for each in keys][: count - 1]
    every = jnp.stack([pictures, *shifted], 1)
    return trunk.features(weights, every).astype(jnp.bfloat16)
