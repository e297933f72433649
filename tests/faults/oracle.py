"""A cell that is a pure function of (seed, frame): what it shows, what is done to it, and what comes of that.

Every picture and every number that is stored tells where it came from, and all that belongs to it can be computed
again. So for each transition it is known whether it is right, wherever and in whatever company it turns up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robostack.core import catalog, lie, observe
from robostack.core.loop import NO_PICTURES, Loop, Pictures, Recorder
from robostack.core.task import Task, Terms
from robostack.core.types import Command, Episode, Sample, Samples, Who
from robostack.store.replay import Label, Replay

CAMERAS = ("wrist_camera", "front_camera")
KIND = "practice"
_CLOSE = 1e-5  # the executed action comes back through exponential and logarithm, and as float32


def _at_target(options: Any, terms: Terms) -> np.ndarray:
    del options
    return np.linalg.norm(terms["target_error"][..., :3], axis=-1) < 0.01


def _none(*_: Any) -> Any:
    raise NotImplementedError("this task has a cell of its own, and no expert")


TASK = Task(
    name="oracle",
    title="nothing: every sample is known before it is taken",
    scene=Path(),
    options=None,
    draw=_none,
    succeeded=_at_target,
    expert=_none,
    steps=24,
    reference="measured",  # so that a reference depends on one frame and not on all before
    gripper=True,
    wrench_scale=(1.0, 1.0),  # its first two numbers are seed and frame, exact in float32
)
ROBOT = catalog.robot("fr3")
SPEC = observe.spec_of(TASK)
_WRENCH = slice(12, 18)  # in an observation: after tool_pose and tool_twist


class Tick(NamedTuple):
    """All that happens between frame `t` and frame `t + 1`, but pictures."""

    pose: np.ndarray  # T_base_tool, at `t`
    twist: np.ndarray
    force: np.ndarray  # (4,) the rest of the wrench
    asked: np.ndarray  # by the policy
    hand: np.ndarray | None  # of the person
    done: np.ndarray  # what the cell let through
    guard: str  # why
    version: int  # of the policy


@lru_cache(maxsize=512)
def tick(seed: int, frame: int) -> Tick:
    """A few dozen numbers by chance, the same ones every time."""
    rng = np.random.default_rng([seed, frame])
    turn = lie.quat_normalize(rng.normal(size=4))
    actions = rng.uniform(-0.9, 0.9, (3, 7))
    is_helped, is_limited = rng.random(2) < (0.3, 0.2)
    return Tick(
        pose=lie.pose(rng.uniform(-0.5, 0.5, 3), turn),
        twist=rng.normal(size=6),
        force=rng.normal(size=4),
        asked=actions[0],
        hand=actions[1] if is_helped else None,
        done=actions[2],
        guard=f"limited: reason {frame} of {seed}" if is_limited else "",
        version=int(rng.integers(1000)),
    )


@lru_cache(maxsize=64)
def length(seed: int, most: int = TASK.steps) -> tuple[int, bool]:
    """Steps of the episode with this seed, and whether the task ends it; else the time limit does."""
    rng = np.random.default_rng([seed, 1, 1])
    return (int(rng.integers(2, most + 1)), True) if rng.random() < 0.6 else (most, False)


def picture(seed: int, frame: int, camera: str, size: int) -> np.ndarray:
    """(size, size, 3) uint8: noise that no other frame has, and in its corner where it belongs."""
    number = CAMERAS.index(camera)
    noise = np.random.default_rng([seed, frame, number, 2]).bytes(size * size * 3)
    found = np.frombuffer(noise, np.uint8).copy()
    found[:12] = np.array([seed, frame, number], "<u4").view(np.uint8)
    return found.reshape(size, size, 3)


def origin(pixels: np.ndarray) -> str:
    """Where a picture says that it belongs."""
    seed, frame, number = np.ascontiguousarray(pixels.reshape(-1)[:12]).view("<u4")
    name = CAMERAS[number] if number < len(CAMERAS) else "no camera"
    return f"seed {seed}, frame {frame}, {name}"


@dataclass(frozen=True)
class Oracle:
    """The truth about cells with pictures of `size` pixels and episodes of at most `steps`."""

    size: int = 32
    steps: int = TASK.steps

    def length(self, seed: int) -> tuple[int, bool]:
        return length(seed, self.steps)

    def signals(self, seed: int, frame: int) -> dict[str, np.ndarray]:
        """All but the pictures."""
        now = tick(seed, frame)
        steps, is_success = self.length(seed)
        reference, opening = now.pose, 0.0
        if frame:
            before = tick(seed, frame - 1)
            step = lie.exp(before.done[:6] * TASK.action_scale)
            reference, opening = lie.compose(before.pose, step), 0.5 * (1.0 + before.done[6])
        is_there = is_success and frame == steps
        aside = np.array([0.0 if is_there else 0.1, 0.0, 0.0])
        return {
            "tool_pose": now.pose,
            "tool_twist": now.twist,
            "wrench": np.concatenate([[seed, frame], now.force]),
            "gripper": np.array([opening]),
            "target": lie.pose(now.pose[:3] + aside, now.pose[3:]),
            "reference": reference,
            "gripper_reference": np.array([opening]),
        }

    def samples(self, seed: int, frame: int) -> Samples:
        """What the cell gives. The guard's reason is that of the command before."""
        values: dict[str, Any] = self.signals(seed, frame)
        values["guard"] = tick(seed, frame - 1).guard if frame else ""
        for camera in CAMERAS:
            values[camera] = picture(seed, frame, camera, self.size)
        return {name: Sample(frame * TASK.period, value) for name, value in values.items()}

    def observation(self, seed: int, frame: int) -> np.ndarray:
        """(n,) float32."""
        samples = {name: Sample(0.0, value) for name, value in self.signals(seed, frame).items()}
        return observe.pack(SPEC, observe.observe(tick(seed, 0).pose, samples))

    def wrong(self, replay: Replay, rows: np.ndarray) -> list[str]:
        """One line for each transition of these rows that is not what happened, with the first that differs."""
        taken = replay.take(rows)
        found = []
        for i, row in enumerate(rows):
            said = taken.observation[i, _WRENCH][:2]
            seed, frame = (int(number) for number in said)
            differs = self._first_difference(taken, i, int(replay.label[row]), seed, frame)
            found += [f"row {row} (seed {seed}, frame {frame}): {differs}"] if differs else []
        return found

    def _first_difference(self, taken, i: int, label: int, seed: int, frame: int) -> str:
        now, (steps, is_success) = tick(seed, frame), self.length(seed)
        is_last = is_success and frame + 1 == steps
        if not 0 <= frame < steps:
            return f"its episode ends at {steps}"
        for what, got, truth in (
            ("observation", taken.observation[i], self.observation(seed, frame)),
            ("next observation", taken.next_observation[i], self.observation(seed, frame + 1)),
            ("reward", taken.reward[i], np.float32(is_last)),
            ("mask", taken.mask[i], np.float32(not is_last)),
        ):
            if not np.array_equal(got, truth):
                return f"{what} is {got}, expected {truth}"
        if not np.allclose(taken.action[i], now.done, atol=_CLOSE):
            return f"action is {taken.action[i]}, expected {now.done}"
        if bool(label & Label.PERSON) != (now.hand is not None) or not label & Label.STEP:
            return f"label is {Label(label)!r}"
        for offset, pictures in ((0, taken.pictures), (1, taken.next_pictures)):
            if pictures.keys() != set(CAMERAS):
                return f"pictures of {sorted(pictures)}"
            for camera, pixels in pictures.items():
                if not np.array_equal(pixels[i], picture(seed, frame + offset, camera, self.size)):
                    return f"picture of {camera}, {offset} on, is {origin(pixels[i])}"
        return ""

    def wrong_in(self, episode: Episode, seed: int, is_complete: bool = True) -> list[str]:
        """What in an episode read from its file is not what happened; a cut one has happened so far."""
        steps, is_success = self.length(seed)
        count = len(episode.steps)
        if episode.header.seed != seed:
            return [f"seed {episode.header.seed}, expected {seed}"]
        if count != steps if is_complete else count > steps:
            return [f"{count} steps, expected {steps}"]
        return [*self._wrong_frames(episode, seed), *self._wrong_steps(episode, seed, is_success)]

    def _wrong_frames(self, episode: Episode, seed: int) -> Iterator[str]:
        for frame, got in enumerate(episode.observations):
            if not np.array_equal(got, self.observation(seed, frame)):
                yield f"frame {frame}: observation is {got}"
            for camera in CAMERAS:
                pixels = episode.pictures[camera][frame]
                if not np.array_equal(pixels, picture(seed, frame, camera, self.size)):
                    yield f"frame {frame}: picture of {camera} is {origin(pixels)}"

    def _wrong_steps(self, episode: Episode, seed: int, is_success: bool) -> Iterator[str]:
        steps = self.length(seed)[0]
        for frame, step in enumerate(episode.steps):
            now, is_last = tick(seed, frame), frame + 1 == steps
            flags = (step.terminated, step.truncated, step.reward, step.who, step.guard)
            who = Who.POLICY if now.hand is None else Who.PERSON
            ended = is_last and is_success
            truth = (ended, is_last and not is_success, float(ended), who, now.guard)
            if flags != truth:
                yield f"step {frame}: flags are {flags}, expected {truth}"
            if not np.allclose(step.action, now.done, atol=_CLOSE):
                yield f"step {frame}: action is {step.action}, expected {now.done}"
            if not np.array_equal(step.action_policy, now.asked):
                yield f"step {frame}: asked is {step.action_policy}, expected {now.asked}"
            if step.parameters != now.version or abs(step.stamp - frame * TASK.period) > 1e-9:
                yield f"step {frame}: version {step.parameters} at {step.stamp} s"

    def sizes(self) -> dict[str, tuple[int, int]]:
        """For a Replay."""
        return dict.fromkeys(CAMERAS, (self.size, self.size))

    def loop(self, recorder: Recorder, plant: "Plant") -> Loop:
        """The real one, with this policy and this person."""
        return Loop(plant, replace(TASK, steps=self.steps), ROBOT, Person(), recorder)


class Plant:
    """The cell. It guards itself: what it lets through is what the oracle says."""

    kind, is_guarded, is_lockstep = "oracle", True, True

    def __init__(self, oracle: Oracle):
        self._oracle, self._seed, self._frame = oracle, 0, 0
        self._samples: Samples = {}

    @property
    def now(self) -> float:
        return self._frame * TASK.period

    def reset(self, seed: int) -> dict[str, Any]:
        self._seed, self._frame = seed, 0
        self._samples = self._oracle.samples(seed, 0)
        return {"seed": seed}

    def read(self) -> Samples:
        return self._samples

    def send(self, command: Command) -> None:
        del command
        self._frame += 1
        self._samples = self._oracle.samples(self._seed, self._frame)

    def look_through(self, cameras: Sequence[str]) -> None:
        del cameras

    def close(self) -> None:
        pass


class Policy:
    """Reads in what it sees which frame it is, and does what the oracle says."""

    version = -1

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Pictures = NO_PICTURES,
    ) -> np.ndarray:
        del rng
        seed, frame = observation[_WRENCH][:2]
        now = tick(int(seed), int(frame))
        self.version = now.version
        return now.asked


class Person:
    """Lends a hand where the oracle says."""

    def begin(self, kind: str, seed: int) -> None:
        del kind, seed

    def act(self, terms: Terms) -> np.ndarray | None:
        seed, frame = terms["wrench"][:2]
        return tick(int(seed), int(frame)).hand

    def end(self, is_success: bool) -> None:
        del is_success
