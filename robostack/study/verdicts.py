"""How good a success classifier is: calibrated and examined by the episode, since that is how it is used.

An episode ends at the first frame that is called done. So a false success is a call before the task was done for the
first time; a miss is an episode in which it was done and the call did not come while it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robostack.core.success import agreed
from robostack.store.labels import NO, YES
from robostack.study import conformal
from robostack.study.statistics import clopper_pearson

RESAMPLES = 2000


@dataclass(frozen=True)
class Judged:
    """One episode: what was scored after each step, and what is true. All (T,)."""

    scores: np.ndarray
    counts: np.ndarray  # bool, the frame meets the conditions
    labels: np.ndarray  # YES, NO or UNSURE

    def calls(self, needed: int, of: int) -> np.ndarray:
        """(T,) the threshold below which each frame would be called done."""
        return agreed(self.scores, self.counts, needed, of)

    @property
    def first(self) -> int:
        """The first frame of success; T where there is none."""
        found = np.flatnonzero(self.labels == YES)
        return int(found[0]) if len(found) else len(self.labels)

    def highest_false(self, needed: int, of: int) -> float:
        """The threshold at which this episode just gives no false success."""
        before = np.arange(len(self.labels)) < self.first
        return float(np.max(self.calls(needed, of)[before & (self.labels == NO)], initial=-np.inf))

    def begun(self, needed: int, of: int) -> int | None:
        """The first frame at which so many of the last were done indeed; None where there is none."""
        every = np.ones(len(self.labels), bool)
        is_done = agreed((self.labels == YES).astype(float), every, needed, of) > 0.5
        return int(np.argmax(is_done)) if is_done.any() else None

    def found(self, threshold: float, needed: int, of: int) -> int | None:
        """The first frame called done while it was, or just after, while the last frames say so. None: missed."""
        is_done = self.labels == YES
        near = np.convolve(is_done, np.ones(of, int))[: len(is_done)] > 0
        called = np.flatnonzero((self.calls(needed, of) > threshold) & near)
        return int(called[0]) if len(called) else None


def calibrated(
    episodes: Sequence[Judged], alpha: float, needed: int, of: int, floor: float = -np.inf
) -> float:
    """The lowest threshold, from `floor` on, that a false success passes in at most `alpha` of new episodes.

    Infinite where there are too few episodes for that; see conformal.least. A higher threshold keeps the promise too.
    """
    maxima = np.array([episode.highest_false(needed, of) for episode in episodes])
    return max(floor, conformal.threshold(maxima, alpha))


@dataclass(frozen=True)
class Rate:
    """So many of so many, with a 95 % interval."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.hits / max(1, self.of)

    @property
    def text(self) -> str:
        return (
            f"{self.hits} of {self.of} ({100 * self.share:.1f} %, "
            f"95 % interval {100 * self.low:.1f} to {100 * self.high:.1f} %)"
        )


@dataclass(frozen=True)
class Report:
    """Rates on held-out episodes."""

    false_frames: Rate  # of frames without success, those that score above the threshold
    missed_frames: Rate  # of frames of success, those that do not
    false_episodes: Rate  # called done before they were
    missed_episodes: Rate  # never called done while they were; of those that were done long enough
    delay: float  # steps, mean, from when enough frames were done to the call; NaN where there was none


def report(
    episodes: Sequence[Judged], threshold: float, needed: int, of: int, with_conditions: bool = True
) -> Report:
    """What a threshold does to these episodes."""
    if not with_conditions:
        episodes = [Judged(e.scores, np.ones_like(e.counts), e.labels) for e in episodes]
    false = [e.highest_false(needed, of) > threshold for e in episodes]
    done = [(e, begun) for e in episodes if (begun := e.begun(needed, of)) is not None]
    calls = [(e.found(threshold, needed, of), begun) for e, begun in done]
    found = [max(0, call - begun) for call, begun in calls if call is not None]
    return Report(
        _of_frames(episodes, threshold, NO),
        _of_frames(episodes, threshold, YES),
        _of_episodes(sum(false), len(false)),
        _of_episodes(len(done) - len(found), len(done)),
        float(np.mean(found)) if found else float("nan"),
    )


def _of_episodes(hits: int, of: int) -> Rate:
    return Rate(hits, of, *clopper_pearson(hits, of))


def _of_frames(episodes: Sequence[Judged], threshold: float, kind: int) -> Rate:
    """Frames of this kind that are called otherwise. Frames of an episode are alike, so the interval is a bootstrap
    over episodes; where nothing went wrong, or everything, the exact one of as many trials as there are episodes."""
    counts = []
    for e in episodes:
        called, mine = (e.scores > threshold) & e.counts, e.labels == kind
        counts.append((np.count_nonzero(mine & (called != (kind == YES))), np.count_nonzero(mine)))
    table = np.array([pair for pair in counts if pair[1]]).reshape(-1, 2)
    hits, of = (int(n) for n in table.sum(0))
    if hits in (0, of):
        every = len(table)
        return Rate(hits, of, *clopper_pearson(every if hits else 0, every))
    rng = np.random.default_rng(0)
    drawn = table[rng.integers(0, len(table), (RESAMPLES, len(table)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return Rate(hits, of, float(low), float(high))
