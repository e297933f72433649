"""Jump-Start: a guide acts first in a practice episode, the policy ends it, and the guide's part shrinks.

Uchendu et al., Jump-Start Reinforcement Learning, arXiv 2204.02372, algorithm 1. Deviations, on purpose. The gate is
not a mean over some episodes, which chance lifts over the bar too early: the lower Wilson bound of the success in
this stage must come near the best lower bound of any stage. Horizons are parts of how long the guide itself takes,
seen in a first stage that is the guide's alone, not of the time limit. All that is here follows from the episodes, so
a run that goes on through its own episodes stands where it stood.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robostack.core.errors import require
from robostack.core.interact import Seen
from robostack.core.rates import one_sided, wilson

Source = Callable[
    [Seen], np.ndarray
]  # a guide in one episode: what is seen -> action (m,) in [-1, 1]
FEWEST = 5  # episodes before a stage is judged


@dataclass(frozen=True)
class JumpStart:
    """Who guides, and how the guide's part shrinks."""

    guide: str = ""  # "": nobody; "expert": the task's script; else a file of parameters
    noise: float = 0.0  # standard deviation added to what the guide does, in units of full action
    stages: int = 10  # in which the guide's part shrinks to nothing
    episodes: int = 20  # newest ones of a stage that it is judged by
    tolerance: float = 0.1  # part of the best stage's success that a stage may lack
    confidence: float = 0.9  # with which success is at least so high, one-sided

    def __post_init__(self):
        require(self.noise >= 0, "jump_start.noise", self.noise, "at least 0")
        require(self.stages >= 1, "jump_start.stages", self.stages, "at least 1")
        least = f"at least {FEWEST}"
        require(self.episodes >= FEWEST, "jump_start.episodes", self.episodes, least)
        require(0 <= self.tolerance < 1, "jump_start.tolerance", self.tolerance, "0 to below 1")
        fits = 0.5 <= self.confidence < 1
        require(fits, "jump_start.confidence", self.confidence, "0.5 to below 1")


@dataclass(frozen=True)
class Curriculum:
    """Where the guide's part stands; JSON as it is. Stage 0 is the guide's alone, the last one the policy's."""

    stage: int = 0
    length: int = 0  # steps in which half of the guide's successes are over; known after stage 0
    best: float = 0.0  # highest lower bound of success that a stage was left with
    results: tuple[bool, ...] = ()  # newest episodes of this stage: success without the person
    lengths: tuple[int, ...] = ()  # of the guide's own successes

    def horizon(self, choices: JumpStart, limit: int) -> int:
        """Steps that the guide acts in the next episode; `limit` is an episode's time limit, steps."""
        if self.stage == 0:
            return limit
        return math.ceil(self.length * (choices.stages - self.stage) / choices.stages)

    def after(self, choices: JumpStart, is_success: bool, steps: int, limit: int) -> "Curriculum":
        """After an episode of so many steps that succeeded, or not, without the person."""
        if self.stage == choices.stages:
            return self
        results = (*self.results, is_success)[-choices.episodes :]
        lengths = (*self.lengths, steps) if self.stage == 0 and is_success else self.lengths
        now = replace(self, results=results, lengths=lengths)
        low, _ = wilson(sum(results), len(results), one_sided(choices.confidence))
        if self.stage == 0:
            if len(results) < choices.episodes:
                return now
                # Half of its successes; a guide that never succeeds has the whole time.
            length = math.ceil(np.percentile(lengths, 50)) if lengths else limit
            return Curriculum(1, length, low)
        if len(results) < FEWEST or low < (1 - choices.tolerance) * self.best:
            return now
        return replace(self, stage=self.stage + 1, best=max(self.best, low), results=())


class Starter:
    """Owns a guide and where its curriculum stands; the loop asks it who begins.

    `source` makes the guide anew for an episode. All chance comes from the episode's seed.
    """

    def __init__(self, source: Callable[[], Source], choices: JumpStart, limit: int):
        self._make, self._choices, self._limit = source, choices, limit
        self.curriculum = Curriculum()
        self._left = 0

    @property
    def horizon(self) -> int:
        """Steps that the guide acts in the next practice episode."""
        return self.curriculum.horizon(self._choices, self._limit)

    def begin(self, kind: str, seed: int) -> None:
        """A new episode of this kind starts; only practice is guided."""
        self._left = self.horizon if kind == "practice" else 0
        if self._left:
            self._act, self._rng = self._make(), np.random.default_rng([seed, 3])

    def act(self, seen: Seen) -> np.ndarray | None:
        """The guide's action (m,) in [-1, 1], or None when its part is over. Once a tick."""
        if self._left == 0:
            return None
        self._left -= 1
        wish = self._act(seen)
        return np.clip(wish + self._rng.normal(0.0, self._choices.noise, wish.shape), -1.0, 1.0)

    def end(self, kind: str, is_success: bool, person_steps: int, steps: int) -> None:
        """The episode is over; also for one that is only recalled. What needed the person's help is no success."""
        if kind == "practice":
            is_alone = is_success and not person_steps
            self.curriculum = self.curriculum.after(self._choices, is_alone, steps, self._limit)
