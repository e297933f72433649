"""The publish guard: no version reaches the robot whose policy moved too far, and a fall leads back to the best one.

FixPO (Zentner et al.) holds the largest KL divergence to the policy before under a bound and steps on until no state
breaks it. Here the policy keeps learning and only what is published is held: it goes from the version before towards
the new one as far as no recent state sees its action move by more than the bound. Distance of actions, not KL: it has
a unit that an operator knows, and a policy that has become sure of itself is not stopped by its small deviation.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robostack.core.errors import require
from robostack.core.rates import wilson
from robostack.learn import trees
from robostack.learn.learner import Learner

HALVINGS = 10  # of the way from one version to the next
PREFIX = "publishing/"  # of names in a checkpoint


@dataclass(frozen=True)
class Publishing:
    """What a version must keep to. 0 leaves a rule out."""

    bound: float = 0.0  # most that an action may move from one version to the next, of a range of 2
    states: int = 2000  # newest ones it is measured on
    rollback: int = 0  # practice episodes; when success in so many has clearly fallen, back

    def __post_init__(self):
        require(self.bound >= 0, "publishing.bound", self.bound, "at least 0")
        require(self.states >= 1, "publishing.states", self.states, "at least 1")
        fits = self.rollback == 0 or self.rollback >= 5
        require(fits, "publishing.rollback", self.rollback, "0 or at least 5 episodes")


def moved(mean: jax.Array, mean_before: jax.Array) -> jax.Array:
    """() the most that any action dimension moves in any state: max |tanh mu - tanh mu_before|; means (B, m)."""
    return jnp.max(jnp.abs(jnp.tanh(mean) - jnp.tanh(mean_before)))


@partial(jax.jit, static_argnums=0)
def held(
    mean_of: Callable[[Any, Any], jax.Array],
    before: Any,
    new: Any,
    observations: Any,
    bound: jax.Array,
) -> tuple[Any, jax.Array, jax.Array]:
    """What may be published instead of `new`: (weights, part of the way gone, distance that all of it would be).

    `mean_of` gives (B, m) means before the tanh from weights and observations; (B, ...) each. On a line between the
    weights the distance need not grow evenly, so the way is halved until it fits, and not searched further.
    """
    mean_before = mean_of(before, observations)

    def between(part: jax.Array) -> Any:
        return jax.tree.map(lambda a, b: (a + part * (b - a)).astype(a.dtype), before, new)

    def halve(_: int, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = interval
        middle = (low + high) / 2
        fits = moved(mean_of(between(middle), observations), mean_before) <= bound
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    whole = moved(mean_of(new, observations), mean_before)
    zero, one = jnp.zeros(()), jnp.ones(())
    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (zero, one))
    part = jnp.where(whole <= bound, one, low)
    # All of the way is `new` itself, to the last bit.
    kept = jax.tree.map(lambda a, b: jnp.where(whole <= bound, b, a), between(part), new)
    return kept, part, whole


@dataclass(frozen=True)
class Record:
    """Success in practice lately and at its best; JSON as it is. Says when to go back."""

    recent: tuple[bool, ...] = ()  # newest practice episodes: success without the person
    best: int = -1  # successes in the best window, -1 while none is full
    is_best: bool = False  # what is published now is what to go back to
    is_fallen: bool = False  # go back now

    def after(self, choices: Publishing, is_success: bool) -> "Record":
        """After a practice episode that succeeded, or not, without the person."""
        window = choices.rollback
        recent = (*self.recent, is_success)[-window:] if window else ()
        now = replace(self, recent=recent, is_best=False, is_fallen=False)
        if not window or len(recent) < window:
            return now
        wins = sum(recent)
        if wins >= self.best:
            return replace(now, best=wins, is_best=True)
        # Clearly: the two 95 % intervals do not touch.
        if wilson(wins, window)[1] < wilson(self.best, window)[0]:
            return replace(now, recent=(), is_fallen=True)
        return now


class Publisher:
    """Owns what was published last, what did best, and the record that says when to go back to it."""

    def __init__(self, choices: Publishing):
        self._choices = choices
        self.record = Record()
        self._trees: dict[str, Any] = {}  # "published", "best"
        self._goes_back = False

    def judge(self, learner: Learner, is_success: bool) -> bool:
        """After a practice episode that succeeded, or not, without the person. True: the learner went back.

        It goes back with the policy alone: the critic has seen why that was left, and keeps it.
        """
        self.record = self.record.after(self._choices, is_success)
        if self.record.is_best and "published" in self._trees:
            self._trees["best"] = self._trees["published"]
        if not self.record.is_fallen or "best" not in self._trees:
            return False
        learner.begin_with(self._trees["best"])
        self._goes_back = True
        return True

    def next(self, learner: Learner) -> tuple[dict, dict[str, float]]:
        """What to publish now, and numbers to tell: "moved", how far all of it goes; "part" of that, gone."""
        if not self._choices.bound and not self._choices.rollback:
            return learner.acting, {}
        new, told = jax.tree.map(jnp.copy, learner.acting), {}
        before = self._trees.get("published")
        if self._choices.bound and before is not None and not self._goes_back:
            seen = learner.newest(self._choices.states)
            bound = jnp.asarray(self._choices.bound, jnp.float32)
            new, part, whole = held(learner.mean, before, new, seen, bound)
            told = {"moved": float(whole), "part": float(part)}
        self._goes_back = False
        self._trees["published"] = new
        return new, told

    def arrays(self) -> dict[str, np.ndarray]:
        """For a checkpoint, by names of their own."""
        return {f"{PREFIX}{name}": array for name, array in trees.to_arrays(self._trees).items()}

    def about(self) -> dict[str, Any]:
        """The rest of it; JSON."""
        return {"record": asdict(self.record), "goes_back": self._goes_back}

    def restore(
        self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], learner: Learner
    ) -> None:
        """As `arrays` and `about` were; arrays of others are passed over."""
        for name in ("published", "best"):
            start = f"{PREFIX}{name}/"
            mine = {key.removeprefix(start): arrays[key] for key in arrays if key.startswith(start)}
            if mine:
                self._trees[name] = learner.acting_of(mine, f"what was {name}")
        record = about["record"]
        self.record = Record(**{**record, "recent": tuple(record["recent"])})
        self._goes_back = about["goes_back"]
