"""How many learner steps a control step is worth: fixed, or chosen as the run goes, with a guard against overfitting.

More updates per step learn faster until they fit what is in the memory and nothing else. What tells is the error on
transitions that are never trained on: every so many practice episodes go there whole. ADEPT (Yuan et al., arXiv
2501.12620) lets a bandit choose the number of updates; here the choice is between two modes. "rule": one ratio up
after each span in which the held-out error did not rise, down to the lowest where it did. "bandit": UCB over the
ratios, paid by success gained per update, under the same guard. Both count updates and never seconds, so a run in
lockstep repeats itself.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from robostack.core.errors import UnknownName, require

MODES = ("fixed", "rule", "bandit")
RATE = 0.1  # of the moving averages: about the last ten episodes


@dataclass(frozen=True)
class Ratio:
    """Who chooses the ratio, and from what."""

    mode: str = "fixed"  # at RunConfig.updates_per_step; else "rule" or "bandit", from `arms`
    arms: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)  # learner steps per control step
    held_out: int = 10  # every so-many-th practice episode is only looked at; not with "fixed"
    span: int = 5  # practice episodes with one ratio
    margin: float = 0.1  # part that the held-out error may be above its lowest, lately
    explore: float = 0.5  # of the bandit: weight of what is not known

    def __post_init__(self):
        if self.mode not in MODES:
            raise UnknownName("mode", self.mode, MODES, "ratio")
        arms = list(self.arms)
        fits = len(arms) >= 1 and arms == sorted(set(arms)) and min(arms) > 0
        require(fits, "ratio.arms", list(self.arms), "rising numbers above 0, such as [1,2,4,8]")
        require(self.held_out >= 2, "ratio.held_out", self.held_out, "at least 2")
        require(self.span >= 1, "ratio.span", self.span, "at least 1")
        for name in ("margin", "explore"):
            require(getattr(self, name) >= 0, f"ratio.{name}", getattr(self, name), "at least 0")


@dataclass(frozen=True)
class Chooser:
    """Where the choice stands: a function of the episodes so far; JSON as it is."""

    arm: int = 0
    since: int = 0  # practice episodes with this arm
    error: float = -1.0  # moving average of the held-out error, below 0 while there is none
    lowest: float = -1.0  # that average's lowest, creeping up so that it is of late
    success: float = 0.0  # moving average
    began: float = 0.0  # success when this arm began
    updates: int = 0  # made with this arm in this span
    trials: tuple[int, ...] = ()  # spans by arm
    gains: tuple[float, ...] = ()  # their mean success gained per thousand updates

    def after(
        self, choices: Ratio, is_success: bool, updates: int, error: float | None
    ) -> "Chooser":
        """After a practice episode that led to so many learner steps; `error` on held-out transitions, if there are.

        Until there are, nothing tells learning from overfitting, and the lowest ratio stays. Deviation from ADEPT: what
        is gained is success, not an estimated value, which high ratios inflate.
        """
        smoothed, lowest = self.error, self.lowest
        if error is not None:
            smoothed = error if smoothed < 0 else smoothed + RATE * (error - smoothed)
            lowest = smoothed if lowest < 0 else min(smoothed, lowest * (1 + RATE / 10))
        success = self.success + RATE * (is_success - self.success)
        if smoothed < 0:
            return replace(self, success=success, began=success)
        now = replace(
            self,
            since=self.since + 1,
            error=smoothed,
            lowest=lowest,
            success=success,
            updates=self.updates + updates,
        )
        if not smoothed <= lowest * (1 + choices.margin):  # or not a number
            return now._next(choices, 0)  # hard: at once, whoever chooses
        if now.since < choices.span:
            return now
        top = len(choices.arms) - 1
        return now._next(choices, min(top, self.arm + 1) if choices.mode == "rule" else None)

    def _next(self, choices: Ratio, arm: int | None) -> "Chooser":
        """With another arm; None: the bandit's."""
        count = len(choices.arms)
        trials, gains = list(self.trials or (0,) * count), list(self.gains or (0.0,) * count)
        gain = 1000.0 * (self.success - self.began) / max(1, self.updates)
        trials[self.arm] += 1
        gains[self.arm] += (gain - gains[self.arm]) / trials[self.arm]
        chosen = _ucb(trials, gains, choices.explore) if arm is None else arm
        return replace(
            self,
            arm=chosen,
            since=0,
            began=self.success,
            updates=0,
            trials=tuple(trials),
            gains=tuple(gains),
        )

    def ratio(self, choices: Ratio) -> float:
        """Learner steps per control step, now."""
        return choices.arms[self.arm]


def _ucb(trials: Sequence[int], gains: Sequence[float], explore: float) -> int:
    """The arm with the highest upper bound, mean + c sqrt(ln t / n); those never tried come first."""
    if 0 in trials:
        return list(trials).index(0)
    whole = math.log(sum(trials))
    bounds = [gain + explore * math.sqrt(whole / n) for gain, n in zip(gains, trials, strict=True)]
    return bounds.index(max(bounds))


class Pace:
    """Owns where the choice stands in a run, and the episode whose learner steps are being made."""

    def __init__(self, choices: Ratio, fixed: float):
        self._choices, self._fixed = choices, fixed
        self.chooser = Chooser()
        self._played = 0  # practice episodes
        self._newest: tuple[bool, int] | None = (
            None  # success and learner steps, until those are made
        )

    @property
    def _is_fixed(self) -> bool:
        return self._choices.mode == "fixed"

    @property
    def ratio(self) -> float:
        """Learner steps per control step, now."""
        return self._fixed if self._is_fixed else self.chooser.ratio(self._choices)

    @property
    def holds_out(self) -> bool:
        """Whether the next practice episode is only to be looked at."""
        return not self._is_fixed and (self._played + 1) % self._choices.held_out == 0

    def played(self, is_success: bool, updates: int) -> None:
        """A practice episode is over that is worth so many learner steps."""
        if not self._is_fixed:
            self._played, self._newest = self._played + 1, (is_success, updates)

    def settled(self, error: Callable[[], float | None]) -> None:
        """Those are made; `error` gives the held-out error, None while nothing is held out."""
        if self._newest is not None:
            self.chooser = self.chooser.after(self._choices, *self._newest, error())
        self._newest = None

    def told(self) -> dict[str, float]:
        """Numbers for people."""
        told = {"ratio": self.ratio}
        return told if self.chooser.error < 0 else told | {"held_out_error": self.chooser.error}

    def about(self) -> dict[str, Any]:
        """All of it, for JSON."""
        newest = list(self._newest) if self._newest else None
        return {"chooser": asdict(self.chooser), "played": self._played, "newest": newest}

    def restore(self, about: Mapping[str, Any]) -> None:
        """As `about` was, from JSON."""
        stood = about["chooser"]
        tuples = {name: tuple(stood[name]) for name in ("trials", "gains")}
        self.chooser = Chooser(**{**stood, **tuples})
        self._played = about["played"]
        self._newest = tuple(about["newest"]) if about["newest"] else None
