"""Whether a task is done where its geometry is not known: frames that a classifier counts, and conditions on them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robostack.core import lie
from robostack.core.errors import BadValue, UnknownName, require
from robostack.core.task import Terms

IN_BASE = (
    "tool_in_base"  # beside the observation terms: tool pose in base, m and rotation vector, rad
)
TERMS = {  # by name, how many numbers
    "tool_pose": 6,
    "tool_twist": 6,
    "wrench": 6,
    "gripper": 1,
    "target_error": 6,
    "reference_error": 6,
    "object_error": 6,  # of tasks with a loose thing
    IN_BASE: 6,
}
AXES = ("x", "y", "z", "rx", "ry", "rz")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = re.compile(
    rf"(?:(?P<low>{_NUMBER}) *<= *)?(?P<term>[a-z_]+)(?:\.(?P<axis>[a-z]+))?"
    rf"(?: *(?P<sign><=|>=) *(?P<bound>{_NUMBER}))?"
)


class Judge(Protocol):
    """Tells when a task is done, in place of Task.succeeded."""

    @property
    def cameras(self) -> Mapping[str, tuple[int, int]]:
        """Height and width of the pictures it needs, px, by camera."""
        ...

    def begin(self) -> None:
        """A new episode starts."""
        ...

    def is_done(self, terms: Terms, pictures: Mapping[str, np.ndarray]) -> bool:
        """Asked once after every step, in order; terms as observe.terms_of has them, and `tool_in_base`."""
        ...


@dataclass(frozen=True)
class Condition:
    """low <= one number of a term <= high, in the term's unit."""

    term: str
    place: int
    low: float
    high: float

    @staticmethod
    def parse(text: str) -> "Condition":
        """Of "tool_in_base.z <= 0.04", "wrench.z >= -5" or "-0.005 <= target_error.x <= 0.005".

        Raises BadValue or UnknownName.
        """
        found = _TEXT.fullmatch(text.strip())
        if not found or (found["low"] is None and found["bound"] is None):
            raise BadValue(
                f'"{text}" is no condition; write one like "tool_in_base.z <= 0.04" or '
                '"-0.005 <= target_error.x <= 0.005"'
            )
        if found["term"] not in TERMS:
            raise UnknownName("term", found["term"], TERMS, f'condition "{text}"')
        axes = AXES[: TERMS[found["term"]]] if TERMS[found["term"]] > 1 else ("",)
        if (axis := found["axis"] or "") not in axes:
            raise UnknownName(f"axis of {found['term']}", axis, axes, f'condition "{text}"')
        low, high = -math.inf, math.inf
        if found["low"] is not None:
            low = float(found["low"])
        if found["sign"] == "<=":
            high = float(found["bound"])
        elif found["sign"] == ">=":
            low = max(low, float(found["bound"]))
        require(low <= high, f'condition "{text}"', f"{low:g} to {high:g}", "a lower bound first")
        return Condition(found["term"], axes.index(axis), low, high)

    @property
    def text(self) -> str:
        """What `parse` takes back."""
        name = self.term if TERMS[self.term] == 1 else f"{self.term}.{AXES[self.place]}"
        if self.low == -math.inf:
            return f"{name} <= {self.high!r}"
        return (
            f"{name} >= {self.low!r}"
            if self.high == math.inf
            else (f"{self.low!r} <= {name} <= {self.high!r}")
        )

    def holds(self, terms: Terms) -> np.ndarray:
        """(...) bool. A number that is NaN does not. Raises UnknownName for a term that is not there."""
        if self.term not in terms:
            raise UnknownName("term", self.term, terms, f'condition "{self.text}"')
        value = np.asarray(terms[self.term])[..., self.place]
        return (self.low <= value) & (value <= self.high)


def all_hold(conditions: Sequence[Condition], terms: Terms) -> np.ndarray:
    """(...) bool; true without conditions."""
    found = np.ones(np.shape(next(iter(terms.values())))[:-1], bool)
    for condition in conditions:
        found &= condition.holds(terms)
    return found


def in_base(tool_pose: np.ndarray) -> np.ndarray:
    """The term `tool_in_base` (..., 6) of poses (..., 7) in base."""
    return np.concatenate([tool_pose[..., :3], lie.so3_log(tool_pose[..., 3:])], -1)


def agreed(scores: np.ndarray, counts: np.ndarray, needed: int, of: int) -> np.ndarray:
    """(T,) the score that `needed` of the last `of` frames reach; of (T,) scores and whether a frame counts at all.

    Minus infinity where there are not so many. A task is done at the first frame where this is above a threshold: so
    the threshold that an episode just does not pass is the highest of these.
    """
    require(1 <= needed <= of, "hysteresis", f"{needed} of {of} frames", "1 <= m <= n")
    counted = np.where(counts, scores, -np.inf)
    ahead = np.concatenate([np.full(of - 1, -np.inf), counted])
    windows = np.lib.stride_tricks.sliding_window_view(ahead, of)
    return np.partition(windows, of - needed, -1)[..., of - needed]
