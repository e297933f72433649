"""Samples to observation: written once, for every plant, and for one arm or a batch."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from robostack.core import lie
from robostack.core.errors import StaleSample
from robostack.core.spec import Spec, Term, View
from robostack.core.task import Task, Terms
from robostack.core.types import Samples


class Signal(NamedTuple):
    """What a plant must give under a name."""

    size: int
    unit: str
    frame: str


SIGNALS = {
    "tool_pose": Signal(7, "m, wxyz", "base"),
    "tool_twist": Signal(6, "m/s, rad/s", "base"),
    "wrench": Signal(6, "N, N m", "tool"),  # what the world does to the tool
    "gripper": Signal(1, "0 closed .. 1 open", ""),
    "target": Signal(7, "m, wxyz", "base"),  # where the cell believes the target to be
    "reference": Signal(7, "m, wxyz", "base"),  # what the controller follows now
}
OBJECT = {"object": Signal(7, "m, wxyz", "base")}  # where the cell sees the loose thing to be


def signals_of(task: Task) -> dict[str, Signal]:
    """What every plant of this task gives."""
    return SIGNALS | (OBJECT if task.object else {})


def spec_of(task: Task, views: tuple[View, ...] = ()) -> Spec:
    """The observation and action that every plant and policy of this task agree on.

    A policy with `views` finds target and object by looking: where the cell believes them to be is left out.
    """
    pose = Term("tool_pose", 6, "m, rad", "tool at reset", (0.05,) * 3 + (0.2,) * 3)
    twist = Term("tool_twist", 6, "m/s, rad/s", "tool", (0.1,) * 3 + (0.5,) * 3)
    wrench = Term("wrench", 6, "N, N m", "tool", _halves(task.wrench_scale))
    gripper = Term("gripper", 1, "0 closed .. 1 open", "", (1.0,))
    target = Term("target_error", 6, "m, rad", "tool", _halves(task.target_scale))
    seen = (pose, twist, wrench, gripper, *(() if views else (target,)))
    if task.reference == "commanded":
        # A step is added to the last command, so what it will do depends on where that was.
        seen += (Term("reference_error", 6, "m, rad", "tool", _halves(task.target_scale)),)
    if task.object and not views:
        seen += (Term("object_error", 6, "m, rad", "tool", _halves(task.target_scale)),)
    action = (Term("tool_step", 6, "m, rad", "tool", tuple(map(float, task.action_scale))),)
    if task.gripper:
        action += (Term("gripper", 1, "-1 closed .. 1 open", "", (1.0,)),)
    return Spec(seen, action, task.period, views)


def _halves(scale: tuple[float, float]) -> tuple[float, ...]:
    return (scale[0],) * 3 + (scale[1],) * 3


def terms_of(
    reset_pose: np.ndarray,
    tool_pose: np.ndarray,
    tool_twist: np.ndarray,
    wrench: np.ndarray,
    gripper: np.ndarray,
    target: np.ndarray,
    reference: np.ndarray,
    object: np.ndarray | None = None,
) -> Terms:
    """Observation terms in their units; a spec may use only some of them.

    Poses (..., 7) and twist (..., 6) in base, wrench (..., 6) in tool, gripper (..., 1).
    """
    base_to_tool = lie.quat_conjugate(tool_pose[..., 3:])
    terms = {
        "tool_pose": _position_and_turn(lie.between(reset_pose, tool_pose)),
        "tool_twist": lie.rotate_twist(base_to_tool, tool_twist),
        "wrench": wrench,
        "gripper": gripper,
        "target_error": _position_and_turn(lie.between(tool_pose, target)),
        "reference_error": _position_and_turn(lie.between(tool_pose, reference)),
    }
    if object is not None:
        terms["object_error"] = _position_and_turn(lie.between(tool_pose, object))
    return terms


def _position_and_turn(T: np.ndarray) -> np.ndarray:
    return np.concatenate([T[..., :3], lie.so3_log(T[..., 3:])], -1)


def pack(spec: Spec, terms: Terms) -> np.ndarray:
    """(..., n) float32 vector of the scaled terms, in the spec's order."""
    parts = [terms[term.name] / np.asarray(term.scale) for term in spec.observation]
    return np.concatenate(parts, -1).astype(np.float32)


def unpack(spec: Spec, observation: np.ndarray) -> Terms:
    """The terms of an observation vector, back in their units."""
    terms, start = {}, 0
    for term in spec.observation:
        terms[term.name] = observation[..., start : start + term.size] * np.asarray(term.scale)
        start += term.size
    return terms


def require_fresh(
    samples: Samples, now: float, limit: float, signals: Mapping[str, Signal] = SIGNALS
) -> float:
    """Age of the oldest signal or picture, s.

    Raises StaleSample for one that is missing, older than `limit`, or not finite.
    """
    oldest = 0.0
    for name in (*signals, *pictures(samples)):
        if (sample := samples.get(name)) is None:
            raise StaleSample(
                f'no sample of "{name}" yet; the cell gives: {", ".join(sorted(samples)) or "nothing"}'
            )
        age = now - sample.stamp
        if not age <= limit:  # a stamp that is NaN is not fresh
            raise StaleSample(
                f'"{name}" is {age * 1e3:.0f} ms old, limit {limit * 1e3:.0f} ms; is its node alive?'
            )
        if name in signals and not np.isfinite(sample.value).all():
            raise StaleSample(f'"{name}" holds a value that is not finite: {sample.value}')
        oldest = max(oldest, age)
    return oldest


def pictures(samples: Samples) -> dict[str, np.ndarray]:
    """What the cameras saw, (H, W, 3) uint8 by name."""
    values = {name: sample.value for name, sample in samples.items()}
    return {name: v for name, v in values.items() if isinstance(v, np.ndarray) and v.ndim == 3}


def without_pictures(samples: Samples) -> Samples:
    """The same samples but those of cameras."""
    seen = pictures(samples)
    return {name: sample for name, sample in samples.items() if name not in seen}


def observe(reset_pose: np.ndarray, samples: Samples) -> Terms:
    """Observation terms of one plant's samples."""
    names = [name for name in (*SIGNALS, *OBJECT) if name in samples]
    return terms_of(reset_pose, **{name: samples[name].value for name in names})
