"""Checkpoints of a learner: one file each, whole or not there, written beside the training, kept by number and by best.

`<folder>/000012345.safetensors` holds the state after so many learner steps; best.json names one that stays.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robostack.core import spec as specs
from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.store import tensors
from robostack.store.disk import explained, forget_drafts, write_whole
from robostack.store.run import read_json, write_json

FORMAT = 1
BEST = "best.json"
_NAME = re.compile(r"(\d{9,})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Everything a learner needs to go on."""

    step: int  # learner steps made
    arrays: Mapping[str, np.ndarray]  # nobody may write into them any more
    spec: Spec
    about: dict[str, Any] = field(default_factory=dict)  # JSON: counters, episodes seen, extras, …
    score: float | None = None  # how good the policy is; the highest one's checkpoint is kept


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies, whether it is there or not."""
    return folder / f"{step:09d}.safetensors"


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes one checkpoint at a stroke and returns its path. Raises Unavailable."""
    with explained("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    labels = {
        "format": str(FORMAT),
        "step": str(checkpoint.step),
        "spec": json.dumps(checkpoint.spec.as_dict()),
        "about": json.dumps(checkpoint.about),  # floats come back to the last bit
        "score": json.dumps(checkpoint.score),
    }
    path = path_of(folder, checkpoint.step)
    write_whole(path, tensors.pack(checkpoint.arrays, labels))
    return path


def load(path: Path, expected_spec: Spec | None = None) -> Checkpoint:
    """One checkpoint. Raises Damaged; RobostackError for one of a newer robostack; SpecMismatch for another task's."""
    try:
        labels, data = tensors.unpack(path)
        if int(labels["format"]) > FORMAT:
            raise RobostackError(
                f"{path} has checkpoint format {labels['format']}, this robostack reads {FORMAT}; "
                "go on with the robostack that wrote it, or a newer one"
            )
        found = Checkpoint(
            step=int(labels["step"]),
            arrays=tensors.arrays(data),
            spec=Spec.from_dict(json.loads(labels["spec"])),
            about=json.loads(labels["about"]),
            score=json.loads(labels["score"]),
        )
    except tensors.UNREADABLE as error:
        raise tensors.Damaged(f"{path} is damaged or no checkpoint: {error}") from None
    if expected_spec is not None:
        specs.require_equal(found.spec, expected_spec, f"the learner's state in {path}")
    return found


def steps(folder: Path) -> list[int]:
    """Learner steps of the checkpoints that are there, oldest first."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(name[1]) for name in names if name)


def newest_first(
    folder: Path, expected_spec: Spec, say: Callable[[str], None]
) -> Iterator[Checkpoint]:
    """The good checkpoints. A damaged one is moved out of the way and `say` told in one line. Raises as `load`."""
    for step in reversed(steps(folder)):
        path = path_of(folder, step)
        try:
            yield load(path, expected_spec)
        except tensors.Damaged as error:
            aside = path.with_name(f"{path.name}.damaged")
            with explained("move", path):
                path.replace(aside)
            say(f"{error}; moved to {aside.name}, the checkpoint before it is taken")


def best(folder: Path) -> tuple[int, float]:
    """Learner steps and score of the checkpoint that is kept as the best; (-1, -inf) while there is none."""
    found = read_json(folder / BEST, {"step": -1, "score": -np.inf})
    return int(found["step"]), float(found["score"])


def prune(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` and the best."""
    kept = {*steps(folder)[-keep:], best(folder)[0]}
    for step in set(steps(folder)) - kept:
        with explained("remove", path_of(folder, step)):
            path_of(folder, step).unlink(missing_ok=True)


class Writer:
    """Owns a thread that writes checkpoints, so that training never waits for the disk.

    At most one waits: a newer one takes its place. What goes wrong in the thread is raised by the next call.
    """

    def __init__(self, folder: Path, keep: int):
        self._folder, self._keep = folder, keep
        forget_drafts(folder)
        self._changed = threading.Condition()
        self._waiting: Checkpoint | None = None
        self._error: BaseException | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def save(self, checkpoint: Checkpoint) -> None:
        """Hands one over; returns at once."""
        with self._changed:
            self.check()
            self._waiting = checkpoint
            self._changed.notify_all()

    def check(self) -> None:
        """Raises what ended the thread; costs nothing."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Returns when everything handed over is on the disk. May be called twice."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        self.check()

    def _run(self) -> None:
        try:
            while (checkpoint := self._next()) is not None:
                self._write(checkpoint)
        except BaseException as error:  # kept, not swallowed: the training thread raises it
            self._error = error

    def _next(self) -> Checkpoint | None:
        with self._changed:
            while self._waiting is None and not self._is_closing:
                self._changed.wait()
            checkpoint, self._waiting = self._waiting, None
            return checkpoint

    def _write(self, checkpoint: Checkpoint) -> None:
        save(self._folder, checkpoint)
        # As good and later counts as better: it has seen more.
        if checkpoint.score is not None and checkpoint.score >= best(self._folder)[1]:
            value = {"step": checkpoint.step, "score": checkpoint.score}
            write_json(self._folder / BEST, value)
        prune(self._folder, self._keep)
