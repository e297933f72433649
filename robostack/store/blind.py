"""Frames that nothing should be learned from: a camera that shows one colour, or the same picture while the arm moves;
numbers that are not finite.

A step is good when its frame, the next one, its action and its reward are. Pictures are bytes, so they are never NaN:
what a dead camera gives is a constant.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from robostack.core.spec import Spec
from robostack.core.types import Episode

FROZEN = 5  # pictures in a row, at least, that are equal to the last bit; a live sensor has noise
GRID = 8  # px between those that are looked at first: most pictures need no more
MOVED = 0.01  # m that the tool goes meanwhile, at least: some pixels of any camera that sees it


class Fault(NamedTuple):
    """What is wrong, and the steps that it spoils."""

    what: str
    first: int  # frame or step where it begins
    count: int  # of frames or steps
    steps: np.ndarray  # (T,) bool, those that touch it
    frames: np.ndarray  # (T + 1,) bool; none where an action or a reward is wrong


def faults(spec: Spec, episode: Episode) -> list[Fault]:
    """Everything wrong with an episode's numbers and with all pictures it has, one entry a kind and camera."""
    found = []
    place = _places(spec, episode)
    for name, pictures in episode.pictures.items():
        plain = is_plain(pictures)
        found += _of_frames(f"{name} showed one colour", plain)
        frozen = is_frozen(pictures, place) & ~plain
        found += _of_frames(f"{name} showed the same picture while the arm moved", frozen)
    is_finite = np.isfinite(episode.observations).reshape(len(episode.observations), -1)
    found += _of_frames("observation was not finite", ~np.all(is_finite, -1))
    none = np.zeros(len(episode.observations), bool)
    for name in ("action", "reward"):
        values = [getattr(step, name) for step in episode.steps]
        bad = np.array([not np.isfinite(value).all() for value in values], bool)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            found.append(Fault(f"{name} was not finite", first, int(bad.sum()), bad, none))
    return found


def bad_steps(found: Iterable[Fault], count: int) -> np.ndarray:
    """(count,) bool, steps to keep out of training."""
    every = [np.zeros(count, bool), *(fault.steps for fault in found)]
    return np.any(every, 0)


def told(episode: Episode, found: list[Fault]) -> str:
    """One line: "episode 12: wrist_camera showed one colour in 14 frames from step 3 on; 15 of 80 steps …"."""
    parts = [
        f"{f.what} in {f.count} frame{'s' * (f.count > 1)} from step {f.first} on" for f in found
    ]
    lost, steps = int(bad_steps(found, len(episode.steps)).sum()), len(episode.steps)
    header = episode.header
    who = f"episode {header.index}" + (f" of {header.actor}" if header.actor else "")
    return f"{who}: {'; '.join(parts)}: {lost} of its {steps} steps are kept out of training"


def is_plain(pictures: np.ndarray) -> np.ndarray:
    """(T + 1,) bool of (T + 1, H, W, 3): every pixel is the same."""
    found = (pictures[:, ::GRID, ::GRID] == pictures[:, :1, :1]).all((1, 2, 3))
    for i in np.flatnonzero(found):
        found[i] = (pictures[i] == pictures[i, :1, :1]).all()
    return found


def is_frozen(pictures: np.ndarray, place: np.ndarray | None) -> np.ndarray:
    """(T + 1,) bool: the picture is the one before again, FROZEN times in a row and more, and the tool moved meanwhile.

    `place` (T + 1, 3) of the tool, m; without it nothing is known of the arm, and nothing is called frozen.
    """
    found = np.zeros(len(pictures), bool)
    if place is None:
        return found
    coarse = pictures[:, ::GRID, ::GRID]
    again = (coarse[1:] == coarse[:-1]).all((1, 2, 3))  # not yet sure
    start = 0
    for i in range(1, len(pictures) + 1):
        if i < len(pictures) and again[i - 1] and np.array_equal(pictures[i], pictures[i - 1]):
            continue
        if i - start >= FROZEN:
            way = np.linalg.norm(place[start:i] - place[start], axis=-1)
            found[start + 1 : i] = np.max(way) > MOVED
        start = i
    return found


def _of_frames(what: str, bad: np.ndarray) -> list[Fault]:
    if not bad.any():
        return []
    frames = np.flatnonzero(bad)
    return [Fault(what, int(frames[0]), len(frames), bad[:-1] | bad[1:], bad)]


def _places(spec: Spec, episode: Episode) -> np.ndarray | None:
    """(T + 1, 3) m; None where the observation does not tell."""
    terms = {term.name: term for term in spec.observation}
    if "tool_pose" not in terms:
        return None
    at = spec.observation_slice("tool_pose")
    values = episode.observations[:, at] * np.asarray(terms["tool_pose"].scale)
    return np.nan_to_num(values[:, :3])
