"""Networks, each for one example; batches and ensembles by vmap.

What a learner sees is a dict: "numbers" (n,), and by camera either the features of a frozen trunk, (h, w, C), or a
picture, (H, W, 3) uint8.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

LOG_STD_MIN, LOG_STD_MAX = -5.0, 1.0
NUMBERS = "numbers"  # the key of an observation's numbers; all others are cameras
Observation = Mapping[str, jax.Array]


class Mlp(nn.Module):
    """Dense, LayerNorm, tanh; LayerNorm keeps a critic finite on actions it never saw (RLPD, section 4.2)."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = nn.tanh(nn.LayerNorm()(nn.Dense(width)(x)))
        return x


class Conv(nn.Module):
    """A small convolutional net, trained end to end: picture (H, W, 3) uint8 to features (H/16, W/16, 64)."""

    @nn.compact
    def __call__(self, picture: jax.Array) -> jax.Array:
        x = picture.astype(jnp.float32) / 255.0 - 0.5
        for width in (16, 32, 32, 64):
            x = nn.relu(nn.Conv(width, (3, 3), (2, 2))(x))
        return x


class Eye(nn.Module):
    """What one camera gives, features or a picture, to a vector (width,).

    Learned spatial embeddings (SERL, arXiv 2401.16013, section 4): each channel is summed over the places with
    `embeddings` learned weightings.
    """

    embeddings: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if x.dtype == jnp.uint8:
            x = Conv()(x)
        x = x.astype(jnp.float32)
        height, width, channels = x.shape
        start = nn.initializers.normal((height * width) ** -0.5)
        places = self.param("places", start, (height * width, channels, self.embeddings))
        x = jnp.einsum("pc,pce->ce", x.reshape(-1, channels), places).reshape(-1)
        return nn.tanh(nn.LayerNorm()(nn.Dense(self.width)(x)))


class Eyes(nn.Module):
    """Observation to one vector: the numbers, and an Eye of its own for each camera."""

    embeddings: int
    width: int

    @nn.compact
    def __call__(self, observation: Observation) -> jax.Array:
        cameras = sorted(set(observation) - {NUMBERS})
        eyes = [Eye(self.embeddings, self.width, name=name)(observation[name]) for name in cameras]
        return jnp.concatenate([observation[NUMBERS], *eyes], -1)


class Actor(nn.Module):
    """Observation to mean (m,) and log standard deviation (m,), before the tanh; eyes of its own."""

    action_size: int
    widths: Sequence[int]
    eyes: Eyes

    @nn.compact
    def __call__(self, observation: Observation) -> tuple[jax.Array, jax.Array]:
        x = Mlp(self.widths)(self.eyes(observation))
        mean = nn.Dense(self.action_size)(x)
        log_std = nn.Dense(self.action_size)(x)
        return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


class Critic(nn.Module):
    """What eyes saw (d,) and action (m,) to a value ()."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, seen: jax.Array, action: jax.Array) -> jax.Array:
        x = Mlp(self.widths)(jnp.concatenate([seen, action], -1))
        return nn.Dense(1)(x)[..., 0]


class Choice(nn.Module):
    """What eyes saw (d,) to a value for each of `count` choices (count,)."""

    widths: Sequence[int]
    count: int

    @nn.compact
    def __call__(self, seen: jax.Array) -> jax.Array:
        return nn.Dense(self.count)(Mlp(self.widths)(seen))


def sample_action(
    mean: jax.Array, log_std: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Action (..., m) in (-1, 1) and its log probability (...). Haarnoja et al. 1812.05905, appendix C.

    log(1 - tanh(u)^2) is written as 2 (log 2 - u - softplus(-2 u)), which does not lose digits at large u.
    """
    noise = jax.random.normal(key, mean.shape)
    u = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * (noise**2 + jnp.log(2.0 * jnp.pi)) - log_std
    squash = 2.0 * (jnp.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return jnp.tanh(u), jnp.sum(gaussian - squash, -1)
