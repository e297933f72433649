"""Networks: a squashed-Gaussian actor and a critic, each for one example; batches and ensembles by vmap."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

LOG_STD_MIN, LOG_STD_MAX = -5.0, 1.0


class Trunk(nn.Module):
    """Dense, LayerNorm, tanh; LayerNorm keeps a critic finite on actions it never saw (RLPD, section 4.2)."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = nn.tanh(nn.LayerNorm()(nn.Dense(width)(x)))
        return x


class Actor(nn.Module):
    """Observation (n,) to mean (m,) and log standard deviation (m,), before the tanh."""

    action_size: int
    widths: Sequence[int]

    @nn.compact
    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = Trunk(self.widths)(observation)
        mean = nn.Dense(self.action_size)(x)
        log_std = nn.Dense(self.action_size)(x)
        return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


class Critic(nn.Module):
    """Observation (n,) and action (m,) to a value ()."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, observation: jax.Array, action: jax.Array) -> jax.Array:
        x = Trunk(self.widths)(jnp.concatenate([observation, action], -1))
        return nn.Dense(1)(x)[..., 0]


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
