"""Grippers are opened or closed: a critic of choices beside the arm's, as HIL-SERL has it (arXiv 2410.21845, eq. 3).

Our commands are absolute openings, so "stay" is to choose the same again; choices are joint over all grippers, 2 to
the power of their number. Deviation: a margin holds the person's choice above the others (DQfD, Hester et al.,
arXiv 1704.03732, J_E in section 4), as the arm's imitation term does; a critic that saw 20 demonstrations says anything
about what nobody chose.
"""

import jax
import jax.numpy as jnp
import numpy as np


def count(grippers: int) -> int:
    """How many choices there are."""
    return 2**grippers


def entries(grippers: int) -> np.ndarray:
    """(choices, grippers) what each choice sends: -1 closed, 1 open."""
    bits = np.arange(count(grippers))[:, None] >> np.arange(grippers) & 1
    return np.where(bits == 1, 1.0, -1.0).astype(np.float32)


def chosen(action: jax.Array) -> jax.Array:
    """Which choice () the grippers' part of an action (grippers,) amounts to."""
    bits = (action > 0).astype(jnp.int32)
    return jnp.sum(bits << jnp.arange(len(action)))


def target(
    reward: jax.Array, mask: jax.Array, online: jax.Array, averaged: jax.Array, discount: float
) -> jax.Array:
    """() r + discount * mask * Q'(s', argmax Q(s', .)): double DQN (van Hasselt et al., arXiv 1509.06461, eq. 4).

    `online` and `averaged` (choices,) are values at the next observation; the switching penalty is in `reward`.
    """
    return reward + discount * mask * averaged[jnp.argmax(online)]


def margin_loss(values: jax.Array, choice: jax.Array, margin: float) -> jax.Array:
    """() how far another choice comes within `margin` of the person's; values (choices,), choice ()."""
    others = values + margin * (jnp.arange(len(values)) != choice)
    return jnp.max(others) - values[choice]
