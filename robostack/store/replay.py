"""Replay memory of whole episodes: every frame once, a transition is rows i and i + 1 of one episode.

Practice lives in a ring at the bottom, demonstrations grow down from the top, each episode in one piece. When there
is no room the oldest practice episodes go, whole; demonstrations stay. "The person acted" is a label of a row.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from robostack.core.errors import BadValue, SpecMismatch
from robostack.core.spec import Spec
from robostack.core.types import Episode, Who

STEP, PERSON, PRACTICE = 1, 2, 4  # bits of a row's label; without STEP no transition starts there


class Rows(NamedTuple):
    """Rows that changed, for a copy on an accelerator; (R,) int32 and the contents there."""

    cursor: int  # give it to the next call
    index: np.ndarray
    frames: np.ndarray  # (R, n)
    action: np.ndarray  # (R, m)
    reward: np.ndarray  # (R,)
    mask: np.ndarray  # (R,)


class _Span(NamedTuple):
    """Rows start <= i < stop of one episode."""

    start: int
    stop: int


class Replay:
    """Owns the rows. `capacity_frames` is fixed, so a copy elsewhere never changes shape.

    Row i holds frame i and, where its label has STEP, the transition from i to i + 1; other rows have label 0.
    Untouched rows cost no memory: the system hands out pages when they are first written.
    """

    def __init__(self, spec: Spec, capacity_frames: int):
        self.spec, self.capacity = spec, capacity_frames
        self.frames = np.zeros((capacity_frames, spec.observation_size), np.float32)
        self.action = np.zeros((capacity_frames, spec.action_size), np.float32)
        self.reward = np.zeros(capacity_frames, np.float32)
        self.mask = np.zeros(capacity_frames, np.float32)
        self.label = np.zeros(capacity_frames, np.uint8)
        self.episode = np.full(capacity_frames, -1, np.int32)  # EpisodeHeader.index, -1 where free
        self._ring: deque[_Span] = deque()  # practice, oldest first
        self._top = capacity_frames  # demonstrations lie from here on
        self._changes: list[_Span] = []  # a cursor is a place in this list
        self._index()

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.all)

    def add(self, episode: Episode) -> None:
        """Takes a whole episode in. Raises BadValue for what is not finite, SpecMismatch for another spec."""
        if episode.header.spec != self.spec.digest:
            raise SpecMismatch(
                f"episode {episode.header.index} has spec {episode.header.spec}, "
                f"the replay memory holds {self.spec.digest}"
            )
        if not episode.steps:
            return
        if episode.observations.shape != (
            size := (len(episode.steps) + 1, self.spec.observation_size)
        ):
            raise BadValue(
                f"episode {episode.header.index}: observations are {episode.observations.shape}, "
                f"expected {size}"
            )
        action = np.array([step.action for step in episode.steps], np.float32)
        reward = np.array([step.reward for step in episode.steps], np.float32)
        _require_finite(episode, action, reward)
        is_practice = episode.header.kind != "demonstration"
        start, stop = span = self._place(len(episode.steps) + 1, is_practice)
        steps = slice(start, stop - 1)
        self.frames[start:stop] = episode.observations
        self.action[steps], self.reward[steps] = action, reward
        self.mask[steps] = [not step.terminated for step in episode.steps]
        self.label[steps] = STEP | (PRACTICE if is_practice else 0)
        self.label[steps][[step.who == Who.PERSON for step in episode.steps]] |= PERSON
        self.episode[start:stop] = episode.header.index
        self._changes.append(span)
        self._index()

    def changed_since(self, cursor: int) -> Rows:
        """Rows written since `cursor` (0: since the beginning), each once. For a copy on the device."""
        spans = [np.arange(*span) for span in self._changes[cursor:]]
        index = np.unique(np.concatenate(spans)) if spans else np.zeros(0, int)
        return Rows(
            len(self._changes),
            index.astype(np.int32),
            self.frames[index],
            self.action[index],
            self.reward[index],
            self.mask[index],
        )

    def _index(self) -> None:
        """Rows of all transitions, of those where the person acted, and of those from practice; int32."""
        self.all = np.flatnonzero(self.label).astype(np.int32)
        labels = self.label[self.all]
        self.person = self.all[labels & PERSON > 0]
        self.practice = self.all[labels & PRACTICE > 0]

    def _place(self, length: int, is_practice: bool) -> _Span:
        """Room for an episode of `length` frames, after freeing what must go."""
        if length > self._top:
            raise BadValue(
                f"an episode of {length} frames does not fit: of the {self.capacity} frames of the replay "
                f"memory, demonstrations hold {self.capacity - self._top}; raise its capacity"
            )
        if not is_practice:
            self._top -= length
            while any(span.stop > self._top for span in self._ring):
                self._evict()
            return _Span(self._top, self._top + length)
        while (start := self._room(length)) is None:
            self._evict()
        self._ring.append(_Span(start, start + length))
        return self._ring[-1]

    def _room(self, length: int) -> int | None:
        """Where a practice episode fits without touching another one."""
        if not self._ring:
            return 0
        oldest, newest = self._ring[0].start, self._ring[-1].stop
        if newest <= oldest:  # wrapped around: the free rows lie between them
            return newest if newest + length <= oldest else None
        if newest + length <= self._top:
            return newest
        return 0 if length <= oldest else None

    def _evict(self) -> None:
        span = self._ring.popleft()
        self.label[slice(*span)], self.episode[slice(*span)] = 0, -1


def _require_finite(episode: Episode, action: np.ndarray, reward: np.ndarray) -> None:
    for name, values in (
        ("observation", episode.observations),
        ("action", action),
        ("reward", reward[:, None]),
    ):
        bad = np.flatnonzero(~np.isfinite(values).all(-1))
        if len(bad):
            raise BadValue(
                f"episode {episode.header.index}, step {bad[0]}: {name} is not finite: "
                f"{values[bad[0]].tolist()}"
            )
