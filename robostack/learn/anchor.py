"""A warm start that is not forgotten: begin with another run's policy, move the critic first, then stay near it.

Fine-tuning a policy with a fresh critic destroys it first: the critic's early values are noise, and the actor follows
them. So (1) the policy plays some episodes as it is; (2) the critic alone learns from those; (3) the actor moves too,
pulled towards the policy it began with by weight * |tanh mu(s) - tanh mu_0(s)|^2, and the weight falls only while
practice succeeds. In a pilot on a two-link arm in two changed cells, four seeds each, naive fine-tuning ended below
the policy it began with in 8 of 8, with (1) and (2) in 5 of 8, with (3) in 1 of 8.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robostack.core.errors import require

RATE = 0.05  # of the moving average of success: about the last twenty episodes


@dataclass(frozen=True)
class Start:
    """Another run's policy to begin with, and how it is kept."""

    file: str = ""  # parameters; "": from scratch
    fill: int = 30  # episodes that it plays as it is, before anything is learned
    critic_steps: int = 1000  # learner steps on those that move only the critic
    anchor: float = 0.1  # weight of the squared distance to its actions
    half_life: float = 100.0  # practice episodes in which the weight halves, while success holds
    hold: float = 0.9  # part of the success at the start that counts as holding

    def __post_init__(self):
        for name in ("critic_steps", "anchor"):
            require(getattr(self, name) >= 0, f"start.{name}", getattr(self, name), "at least 0")
        require(self.fill >= 1, "start.fill", self.fill, "at least 1")
        require(self.half_life > 0, "start.half_life", self.half_life, "more than 0 episodes")
        require(0 <= self.hold <= 1, "start.hold", self.hold, "0 to 1")


@dataclass(frozen=True)
class Anchor:
    """Where the anchor stands: a function of the episodes so far; JSON as it is."""

    weight: float
    played: int = 0  # episodes of the policy as it was
    wins: int = 0  # of those
    success: float = 0.0  # moving average in practice, from the policy's own success on

    def filled(self, is_success: bool) -> "Anchor":
        """After an episode that the policy played as it was."""
        played, wins = self.played + 1, self.wins + is_success
        return replace(self, played=played, wins=wins, success=wins / played)

    def after(self, choices: Start, is_success: bool) -> "Anchor":
        """After a practice episode that succeeded, or not, without the person."""
        success = self.success + RATE * (is_success - self.success)
        holds = success >= choices.hold * self.wins / max(1, self.played)
        weight = self.weight * 0.5 ** (1.0 / choices.half_life) if holds else self.weight
        return replace(self, success=success, weight=weight)


class Pull(NamedTuple):
    """What an actor's update is pulled towards."""

    actor: dict  # weights of the policy to stay near
    weight: jax.Array  # ()


def distance(mean: jax.Array, mean_0: jax.Array) -> jax.Array:
    """() |tanh mu - tanh mu_0|^2, summed over the action, mean over the batch; means (B, m) before the tanh."""
    return jnp.mean(jnp.sum((jnp.tanh(mean) - jnp.tanh(mean_0)) ** 2, -1))
