"""Who acts: the person beside the robot. A scripted one has the same interface as a hand on a device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from robostack.core.errors import BadValue, require
from robostack.core.task import Expert, Terms, to_target

ARM = 6  # the first entries of an action move the arm, those after it are grippers


class Operator(Protocol):
    """Asked once a tick, before the policy's action is sent."""

    def begin(self, kind: str, seed: int) -> None:
        """A new episode of this kind (EpisodeHeader.kind) starts."""
        ...

    def act(self, terms: Terms) -> np.ndarray | None:
        """The person's action (m,) in [-1, 1], or None while their hands are off."""
        ...

    def end(self, is_success: bool) -> None:
        """The episode is over."""
        ...


class Nobody:
    """No one at the device."""

    def begin(self, kind: str, seed: int) -> None:
        del kind, seed

    def act(self, terms: Terms) -> np.ndarray | None:
        del terms
        return None

    def end(self, is_success: bool) -> None:
        del is_success


@dataclass(frozen=True)
class Style:
    """How the scripted person behaves. Defaults: finish what is stuck, help less as the policy needs less."""

    reaction: int = 3  # ticks between seeing trouble and acting
    noise: float = 0.2  # standard deviation of the hand, in units of full action
    speed: float = (
        1.0  # of the arm, as a share of what the expert would have; people are slower than scripts
    )
    patience: int = 12  # ticks without progress that count as a stall
    progress: float = 0.003  # m nearer than ever before, or it is no progress
    retreat: float = 0.02  # m farther than the nearest so far counts as moving away
    finishes: bool = True  # keep the arm to the end of the episode, not just for `correction` ticks
    correction: int = 10  # ticks
    budget: int = 4000  # steps the person will give in practice, over the whole run
    memory: int = 20  # practice episodes the person looks back on
    watching: float = 0.0  # least share of practice episodes that they watch, however well it goes

    def __post_init__(self):
        for name in ("reaction", "noise", "progress", "retreat", "budget"):
            value = getattr(self, name)
            require(value >= 0, f"person.{name}", value, "at least 0")
        require(0 <= self.watching <= 1, "person.watching", self.watching, "0 to 1")
        require(0 < self.speed <= 1, "person.speed", self.speed, "more than 0, at most 1")
        for name in ("patience", "correction", "memory"):
            value = getattr(self, name)
            require(value >= 1, f"person.{name}", value, "at least 1")


class ScriptedPerson:
    """Demonstrates, then takes over from a policy that stalls or moves away, and tapers off.

    Owns an expert (a new one each episode), a budget, and a memory of how the last practice episodes went without
    help. `left` (m still to go) is what they judge progress by. Uses only the observation terms. All chance comes from
    `seed` and the episode's seed.
    """

    def __init__(
        self,
        expert: Callable[[], Expert],
        style: Style | None = None,
        seed: int = 0,
        left: Callable[[Terms], np.ndarray] | None = None,
    ):
        self._make_expert, self._seed = expert, seed
        self._left_to_go = left or partial(to_target, None)
        self.style = style or Style()
        self._unaided: list[bool] = []  # per practice episode: success without the person
        self.spent = 0  # steps given in practice
        self.begin("practice", 0)

    @property
    def willingness(self) -> float:
        """Probability of watching the next practice episode: falls as the policy succeeds alone, to `watching`."""
        if len(self._unaided) < 5:
            return 1.0
        failed = float(1.0 - np.mean(self._unaided[-self.style.memory :]))
        return max(self.style.watching, failed)

    def begin(self, kind: str, seed: int) -> None:
        self._expert = self._make_expert()
        self._rng = np.random.default_rng([self._seed, seed])
        self._kind = kind
        self._is_watching = kind == "practice" and self._rng.random() < self.willingness
        self._nearest, self._waited = np.inf, 0
        self._countdown: int | None = None  # ticks until the hand arrives
        self._left = 0  # ticks the hand stays
        self._has_helped = False

    def act(self, terms: Terms) -> np.ndarray | None:
        # The expert watches all the time: its memory of where it searched must be there when it takes over.
        wish = self._expert.act(terms)
        if self._kind == "demonstration":
            return self._by_hand(wish)
        if not self._is_watching or self.spent >= self.style.budget:
            return None
        if self._left == 0 and not self._is_due(terms):
            return None
        self._left -= 1
        self._has_helped = True
        self.spent += 1
        return self._by_hand(wish)

    def end(self, is_success: bool) -> None:
        if self._kind == "practice":
            self._unaided.append(is_success and not self._has_helped)

    def recall(self, kind: str, seed: int, helped: int, is_success: bool | None) -> None:
        """Lives through an episode that is over: the person acted in `helped` steps; None: it was cut short.

        Raises BadValue when this person would not have helped in it.
        """
        self.begin(kind, seed)
        if kind == "practice" and helped:
            if not self._is_watching or self.spent + helped > self.style.budget:
                raise BadValue(
                    f"the person helped in {helped} steps of the practice episode with seed {seed}; "
                    f"one with seed {self._seed} and {self.style} would not have"
                )
            self.spent += helped
            self._has_helped = True
        if is_success is not None:
            self.end(is_success)

    def _is_due(self, terms: Terms) -> bool:
        """Sees trouble, waits out the reaction time, then lets the hand arrive."""
        distance = float(self._left_to_go(terms))
        if distance < self._nearest - self.style.progress:
            self._nearest, self._waited = distance, 0
        else:
            self._waited += 1
        in_trouble = (
            self._waited >= self.style.patience or distance > self._nearest + self.style.retreat
        )
        if self._countdown is None:
            self._countdown = self.style.reaction if in_trouble else None
            return False
        self._countdown -= 1
        if self._countdown > 0:
            return False
        self._countdown, self._waited, self._nearest = None, 0, np.inf
        self._left = 10**9 if self.style.finishes else self.style.correction
        return True

    def _by_hand(self, wish: np.ndarray) -> np.ndarray:
        """The arm by a hand that trembles; a gripper by a button, which does not, and is open or closed."""
        arm, buttons = self.style.speed * wish[:ARM], wish[ARM:]
        arm = np.clip(arm + self._rng.normal(0.0, self.style.noise, arm.shape), -1.0, 1.0)
        return np.concatenate([arm, np.where(buttons < 0.0, -1.0, 1.0)])
