"""From noise to an action along a learned flow, in as many Euler steps as the state needs: AdaFlow (arXiv 2402.04292).

The flow's straight lines run from noise n at t = 0 to an action a at t = 1: z_t = t a + (1 - t) n, with velocity
v = a - n (Lipman et al., arXiv 2210.02747, eq. 22). Where one action belongs to z_t the velocity is exact and one step
does; where several do, its standard deviation sigma is large and steps are small (AdaFlow, section 3.3).
Deviation: errors are means over an action's entries, not sums, so `eta` means the same for every horizon and arm.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from robostack.learn.nets import Mlp

Field = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
SPREAD = 0.5  # of demonstrated actions in [-1, 1], about; see `skip`
FREQUENCIES = 8  # of the flow's time, sine and cosine
END = 1.0 - 1e-6  # of the flow's time; what is left is rounding


class Velocity(nn.Module):
    """What eyes saw (d,), a point z (k,) and its time () to the velocity (k,) and log sigma ()."""

    size: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, seen: jax.Array, z: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        phase = t * jnp.pi * jnp.arange(1, FREQUENCIES + 1, dtype=jnp.float32)
        x = jnp.concatenate([seen, z, jnp.sin(phase), jnp.cos(phase)])
        hidden = Mlp(self.widths)(x)
        velocity = skip(t) * z + nn.Dense(self.size)(hidden)
        # Sigma learns beside the velocity and never moves it: AdaFlow's second stage, without waiting for it.
        spread = Mlp(self.widths[-1:])(jax.lax.stop_gradient(jnp.concatenate([hidden, x])))
        return velocity, nn.Dense(1)(spread)[0]


def skip(t: jax.Array) -> jax.Array:
    """The part of the velocity that is known of z alone: E[a - n | z] = skip z for actions of mean 0 and std SPREAD.

    So the network learns only the rest; at t = 0 that is the mean action, as in plain regression, which makes a single
    step exact where one action is right. After Karras et al. (arXiv 2206.00364, section 5); AdaFlow has no such part.
    """
    return (t * SPREAD**2 - (1.0 - t)) / (t**2 * SPREAD**2 + (1.0 - t) ** 2)


def between(action: jax.Array, noise: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The point z (k,) at time t () of the line from noise to action (k,), and the velocity (k,) there."""
    return t * action + (1.0 - t) * noise, action - noise


def losses(
    wanted: jax.Array, velocity: jax.Array, log_sigma: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Squared error () of a velocity (k,), and the negative log likelihood () of its size under sigma.

    AdaFlow eq. 9 with its two stages at once: the error trains the velocity, the likelihood only sigma.
    """
    error = jnp.mean((wanted - velocity) ** 2)
    fixed = jax.lax.stop_gradient(error)
    return error, fixed / (2.0 * jnp.exp(2.0 * log_sigma)) + log_sigma


def step_size(log_sigma: jax.Array, t: jax.Array, eta: float, most: int) -> jax.Array:
    """How far () the next step goes: AdaFlow's clip(max(eta / sigma, 1 / most), up to the end)."""
    return jnp.minimum(jnp.maximum(eta * jnp.exp(-log_sigma), 1.0 / most), 1.0 - t)


def integrate(field: Field, noise: jax.Array, eta: float, most: int) -> tuple[jax.Array, jax.Array]:
    """The action (k,) that noise (k,) flows to, and how many steps () it took: 1 to `most`.

    Under vmap each example takes its own steps and then rests. With eta 0 every one takes `most` equal steps.
    """

    def is_going(carry):
        return carry[1] < END

    def go(carry):
        z, t, steps = carry
        velocity, log_sigma = field(z, t)
        dt = step_size(log_sigma, t, eta, most)
        return z + dt * velocity, t + dt, steps + 1

    start = (noise, jnp.zeros(()), jnp.zeros((), jnp.int32))
    action, _, steps = jax.lax.while_loop(is_going, go, start)
    return action, steps
