"""Replay memory of whole episodes: every frame once, a transition is rows i and i + 1 of one episode.

Practice lives in a ring at the bottom, demonstrations grow down from the top, each episode in one piece. When there
is no room the oldest practice episodes go, whole; demonstrations stay. Who acted, and more, are labels of a row.
Episodes of practice that are held out lie in the same ring, and nothing that is drawn is theirs.
"""

from collections.abc import Callable, Mapping
from enum import IntFlag
from typing import Any, NamedTuple

import numpy as np

from robostack.core.errors import BadValue, RobostackError, SpecMismatch
from robostack.core.spec import Spec
from robostack.core.types import Episode, Who
from robostack.store import blind
from robostack.store.memory import Need

KEPT = ("demonstration", "fill")  # kinds of episodes that stay
Sizes = Mapping[str, tuple[int, int]]  # height and width of each camera's pictures, px


class Label(IntFlag):
    """What is known of a row; without STEP no transition starts there."""

    STEP = 1
    PERSON = 2  # the person acted
    PRACTICE = 4  # not a demonstration
    SUCCESS = 8  # of an episode that succeeded
    SIMULATED = 16  # of a cell in this process, not of one on topics
    FILL = 32  # played by the policy that a run began with, before anything was learned
    HELD_OUT = 64  # of an episode that is only looked at


class Transitions(NamedTuple):
    """Rows put together, (B, ...)."""

    observation: np.ndarray  # (B, n) float32
    action: np.ndarray  # (B, m) float32
    reward: np.ndarray  # (B,) float32
    mask: np.ndarray  # (B,) float32, 0 where nothing that follows counts
    next_observation: np.ndarray  # (B, n) float32
    pictures: dict[str, np.ndarray]  # (B, H, W, 3) uint8, by camera
    next_pictures: dict[str, np.ndarray]


class Rows(NamedTuple):
    """Rows that changed, for a copy on an accelerator; (R,) int32 and the contents there."""

    cursor: int  # give it to the next call
    index: np.ndarray
    frames: np.ndarray  # (R, n)
    action: np.ndarray  # (R, m)
    reward: np.ndarray  # (R,)
    mask: np.ndarray  # (R,)
    switches: np.ndarray  # (R,)
    guide: np.ndarray | None  # (R, m) where the memory is guided


class _Span(NamedTuple):
    """Rows start <= i < stop of one episode."""

    start: int
    stop: int
    index: int
    actor: str
    is_held_out: bool = False


class Replay:
    """Owns the rows. `capacity_frames` is fixed, so a copy elsewhere never changes shape.

    Row i holds frame i and, where its label has STEP, the transition from i to i + 1; other rows have label 0.
    Untouched rows cost no memory: the system hands out pages when they are first written.
    """

    def __init__(
        self,
        spec: Spec,
        capacity_frames: int,
        cameras: Sizes | None = None,
        timeouts_end: bool = False,  # whether nothing counts after an episode that ran out of time
        is_guided: bool = False,  # whether it keeps what a mask's guide would have done
    ):
        self.spec, self.capacity, self.cameras = spec, capacity_frames, dict(cameras or {})
        self._timeouts_end = timeouts_end
        self.frames = np.zeros((capacity_frames, spec.observation_size), np.float32)
        self.action = np.zeros((capacity_frames, spec.action_size), np.float32)
        self.reward = np.zeros(capacity_frames, np.float32)
        self.mask = np.zeros(capacity_frames, np.float32)
        self.switches = np.zeros(capacity_frames, np.float32)  # grippers that the action switched
        self.guide = np.zeros_like(self.action) if is_guided else None
        self.label = np.zeros(capacity_frames, np.uint8)
        self.episode = np.full(capacity_frames, -1, np.int32)  # EpisodeHeader.index, -1 where free
        self.pictures = {
            name: np.zeros((capacity_frames, *size, 3), np.uint8)
            for name, size in self.cameras.items()
        }
        # For who keeps more than we do: called with the first row and the episode that comes to lie there.
        self.on_fill: Callable[[int, Episode], None] = lambda start, episode: None
        # For who talks to people: called with one line about each episode added that is broken in places.
        self.on_fault: Callable[[str], None] = lambda line: None
        self._ring: list[_Span] = []  # practice, oldest first
        self._kept: list[_Span] = []  # demonstrations
        self._top = capacity_frames  # where they begin
        self._changes: list[tuple[int, int]] = []  # a cursor is a place in this list
        self._index()

    def __len__(self) -> int:
        """Number of transitions that may be drawn."""
        return len(self.all)

    def add(self, episode: Episode, is_held_out: bool = False) -> None:
        """Takes a whole episode in, but for steps that cannot be learned from (store.blind): they are told of.

        One of practice may be held out: then only `held_out` gives its rows, and nothing that is drawn is one of them.
        Raises SpecMismatch for another spec, BadValue for other shapes.
        """
        self._require_fits(episode)
        if not episode.steps:
            return
        is_practice = episode.header.kind not in KEPT
        is_held_out = is_held_out and is_practice
        start, stop = self._place(len(episode.steps) + 1, is_practice)
        span = _Span(start, stop, episode.header.index, episode.header.actor, is_held_out)
        (self._ring if is_practice else self._kept).append(span)
        if found := self._fill(span, episode):
            self.on_fault(blind.told(episode, found))
        self._index()

    def draw(
        self, rng: np.random.Generator, count: int, weights: Mapping[Label, float] | None = None
    ) -> np.ndarray:
        """(count,) int32 rows, with replacement. A row counts as much as the weights of its labels multiplied."""
        if not len(self):
            raise BadValue("the replay memory is empty; add an episode before drawing from it")
        shares = self._class_sizes.astype(float)
        for label, weight in (weights or {}).items():
            shares[self._classes & label > 0] *= weight
        if not shares.sum() > 0:
            raise BadValue(f"no transition has a weight above 0; weights: {dict(weights or {})}")
        which = rng.choice(len(shares), count, p=shares / shares.sum())
        place = (rng.random(count) * self._class_sizes[which]).astype(np.int64)
        return self._by_class[self._class_starts[which] + place]

    def take(self, rows: np.ndarray) -> Transitions:
        """The transitions that start at these rows."""
        after = rows + 1
        return Transitions(
            self.frames[rows],
            self.action[rows],
            self.reward[rows],
            self.mask[rows],
            self.frames[after],
            {name: pictures[rows] for name, pictures in self.pictures.items()},
            {name: pictures[after] for name, pictures in self.pictures.items()},
        )

    def newest(self, count: int) -> np.ndarray:
        """At most `count` rows of practice where a step begins, the newest; of what is kept while there are none."""
        rows: list[np.ndarray] = []
        for span in reversed(self._ring or self._kept):
            rows.insert(0, np.arange(span.start, span.stop - 1, dtype=np.int32))
            if sum(map(len, rows)) >= count:
                break
        return np.concatenate(rows)[-count:] if rows else np.zeros(0, np.int32)

    def held_out(self, count: int) -> np.ndarray:
        """At most `count` rows (int32) where a transition begins that was held out, the newest ones."""
        spans = [np.arange(span.start, span.stop) for span in self._ring if span.is_held_out]
        rows = np.concatenate(spans or [np.zeros(0)]).astype(np.int32)
        return rows[self.label[rows] > 0][-count:]

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
            self.switches[index],
            None if self.guide is None else self.guide[index],
        )

    def layout(self) -> dict[str, Any]:
        """Which episode lies where, for JSON."""
        return {
            "capacity": self.capacity,
            "top": self._top,
            "practice": [list(span) for span in self._ring],
            "demonstrations": [list(span) for span in self._kept],
        }

    def restore(self, layout: Mapping[str, Any], read: Callable[[str, int], Episode]) -> None:
        """Puts every episode where it lay; `read` gets actor and index. For an empty memory.

        Raises RobostackError where the episodes are not those that lay there.
        """
        if layout["capacity"] != self.capacity:
            raise RobostackError(
                f"the replay memory had {layout['capacity']} frames, now it has {self.capacity}; "
                "a run goes on with the capacity it began with"
            )
        self._top = layout["top"]
        for spans, kept in (
            (layout["demonstrations"], self._kept),
            (layout["practice"], self._ring),
        ):
            for span in (_Span(*span) for span in spans):
                episode = read(span.actor, span.index)
                self._require_fits(episode)
                if len(episode.steps) + 1 != span.stop - span.start:
                    raise RobostackError(
                        f"episode {span.index} has {len(episode.steps)} steps, "
                        f"it had {span.stop - span.start - 1} when the learner stopped"
                    )
                kept.append(span)
                self._fill(span, episode)
        self._index()

    def _fill(self, span: _Span, episode: Episode) -> list[blind.Fault]:
        """Writes its rows; returns what is wrong with it. No number that is not finite comes in."""
        start, stop = span[:2]
        found = blind.faults(self.spec, episode)
        steps = slice(start, stop - 1)
        self.frames[start:stop] = episode.observations
        self.action[steps] = [step.action for step in episode.steps]
        self.reward[steps] = [step.reward for step in episode.steps]
        self.mask[steps] = [
            not (step.terminated or (step.truncated and self._timeouts_end))
            for step in episode.steps
        ]
        opening = self.action[steps][:, list(self.spec.action_places("gripper"))] > 0
        self.switches[start + 1 : stop - 1] = (opening[1:] != opening[:-1]).sum(-1)
        self.switches[start] = 0.0
        if self.guide is not None:
            guided = [step.guide for step in episode.steps]
            # Nobody was asked at the last frame, which has a value only where time ran out.
            self.guide[start:stop] = [*guided, guided[-1]]
        for name, pictures in self.pictures.items():
            pictures[start:stop] = episode.pictures[name]
        label = Label.STEP
        label |= Label.PRACTICE if episode.header.kind not in KEPT else Label(0)
        label |= Label.FILL if episode.header.kind == "fill" else Label(0)
        label |= Label.SUCCESS if episode.is_success else Label(0)
        label |= Label.SIMULATED if episode.header.plant != "ros" else Label(0)
        label |= Label.HELD_OUT if span.is_held_out else Label(0)
        by_person = [step.who == Who.PERSON for step in episode.steps]
        self.label[steps] = int(label) + int(Label.PERSON) * np.array(by_person, np.uint8)
        self.label[stop - 1] = 0
        self.episode[start:stop] = span.index
        self._changes.append((start, stop))
        if found:
            for rows in (self.frames[start:stop], self.action[steps], self.reward[steps]):
                rows[~np.isfinite(rows)] = 0.0
            self.label[steps][blind.bad_steps(found, len(episode.steps))] = 0
        self.on_fill(start, episode)
        return found

    def _index(self) -> None:
        """Rows of all transitions, of those where the person acted, of all prior data, and of practice; int32.

        None of them is held out. And all rows sorted by label, so that a draw needs no look at each.
        """
        is_drawn = (self.label > 0) & (self.label & Label.HELD_OUT == 0)
        self.all = np.flatnonzero(is_drawn).astype(np.int32)
        labels = self.label[self.all]
        self.person = self.all[labels & Label.PERSON > 0]
        self.prior = self.all[labels & (Label.PERSON | Label.FILL) > 0]
        self.practice = self.all[labels & Label.PRACTICE > 0]
        order = np.argsort(labels, kind="stable")
        self._by_class = self.all[order]
        self._classes, self._class_starts, self._class_sizes = np.unique(
            labels[order], return_index=True, return_counts=True
        )

    def _require_fits(self, episode: Episode) -> None:
        header, count = episode.header, len(episode.steps) + 1
        if header.spec != self.spec.digest:
            raise SpecMismatch(
                f"episode {header.index} has spec {header.spec}, "
                f"the replay memory holds {self.spec.digest}"
            )
        shapes = [("observations", episode.observations, (count, self.spec.observation_size))]
        seen = {view.name: (view.height, view.width) for view in self.spec.views}
        for name, size in {**seen, **self.cameras}.items():
            shapes += [(f"pictures of {name}", episode.pictures.get(name), (count, *size, 3))]
        if self.guide is not None and any(step.guide is None for step in episode.steps):
            raise BadValue(
                f"episode {header.index} does not say what the guide would have done, which mask.guide needs; "
                "it is of a run without a mask"
            )
        for what, array, expected in shapes:
            if array is None or array.shape != expected:
                got = "missing" if array is None else array.shape
                raise BadValue(f"episode {header.index}: {what} are {got}, expected {expected}")

    def _place(self, length: int, is_practice: bool) -> tuple[int, int]:
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
            return self._top, self._top + length
        while (start := self._room(length)) is None:
            self._evict()
        return start, start + length

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
        start, stop, *_ = self._ring.pop(0)
        self.label[start:stop], self.episode[start:stop] = 0, -1


def need(spec: Spec, capacity_frames: int, images: Mapping[str, int] | None = None) -> Need:
    """Memory that a full replay memory takes, by part; `images`: what is kept of a frame's pictures, bytes.

    The numbers count twice, since the device has a copy of them.
    """
    numbers = 2.0 * 4 * (spec.observation_size + spec.action_size + 5)
    parts = {"numbers": numbers, **(images or {})}
    whole = {name: float(size) * capacity_frames for name, size in parts.items()}
    return Need(f"a replay memory of {capacity_frames:,} frames", whole)
