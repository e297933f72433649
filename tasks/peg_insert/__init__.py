"""Insert a square peg into a hole that is not quite where the cell believes it to be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robostack.core import lie
from robostack.core.errors import BadValue
from robostack.core.task import Geom, Setup, Task, Terms

PEG = 0.010  # m, half the side of the peg
BLOCK = 0.040  # m, half the side of the block around the hole
DEPTH = 0.025  # m, from the rim to the tool's end face when done
TARGET = np.array(
    [0.5, 0.0, 0.025]
)  # m, base frame, middle of where targets are drawn; the block is 50 mm high
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # wxyz, tool z along -z of base, tool x along base x
DONE_DEPTH = 0.005  # m, how far from DEPTH counts as in
DONE_ASIDE = 0.0045  # m; more than clearance and bias together, less than the wall's thickness


@dataclass(frozen=True)
class Options:
    """m and rad. Defaults: the demo."""

    clearance: float = 0.001  # between peg and wall, a side
    bias: float = 0.001  # most that the hole is observed beside its true place, per axis
    aside: float = 0.02  # the hole moves this far along x and y
    start_aside: float = 0.03  # the tool starts this far along x and y from the middle
    start_low: float = 0.03  # lowest start above the rim
    start_high: float = 0.07
    start_yaw: float = np.deg2rad(10.0)

    def __post_init__(self):
        if not 0.0002 <= self.clearance <= 0.002:
            raise BadValue(
                f"peg_insert: clearance {self.clearance} m, expected 0.0002 to 0.002 m a side"
            )
        if not 0.0 <= self.bias <= 0.002:
            raise BadValue(f"peg_insert: bias {self.bias} m, expected 0 to 0.002 m")
        for name in ("aside", "start_aside", "start_yaw"):
            if not 0.0 <= getattr(self, name) <= 0.2:
                raise BadValue(f"peg_insert: {name} {getattr(self, name)}, expected 0 to 0.2")
        if not 0.01 <= self.start_low <= self.start_high <= 0.15:
            raise BadValue(
                f"peg_insert: starts {self.start_low} to {self.start_high} m above the rim, "
                "expected 0.01 <= start_low <= start_high <= 0.15"
            )


def draw(options: Options, rng: np.random.Generator) -> Setup:
    """A start over the block, a hole somewhere below, and where it is believed to be."""
    offset = rng.uniform(-options.aside, options.aside, 2)
    start_offset = rng.uniform(-options.start_aside, options.start_aside, 2)
    height = rng.uniform(options.start_low, options.start_high)
    yaw = rng.uniform(-options.start_yaw, options.start_yaw)
    bias = rng.uniform(-options.bias, options.bias, 3)
    target = lie.pose(TARGET + np.array([*offset, 0.0]), DOWN)
    above = TARGET + np.array([*start_offset, DEPTH + height])
    start = lie.compose(lie.from_yaw(above, yaw), lie.pose(np.zeros(3), DOWN))
    observed = np.concatenate([target[:3] + bias, target[3:]])
    return Setup(start, target, observed)


def succeeded(options: Options, terms: Terms) -> np.ndarray:
    """In by geometry: so deep beside a solid block is only possible inside the hole."""
    del options
    left = terms["target_error"]
    aside = np.maximum(np.abs(left[..., 0]), np.abs(left[..., 1]))
    return (np.abs(left[..., 2]) < DONE_DEPTH) & (aside < DONE_ASIDE)


def geoms(options: Options) -> dict[str, Geom]:
    """The four walls for this clearance, in the target's frame."""
    gap = PEG + options.clearance
    thick, middle, high = (BLOCK - gap) / 2, (BLOCK + gap) / 2, DEPTH
    return {
        "wall_px": Geom((thick, BLOCK, high), (middle, 0.0, 0.0)),
        "wall_nx": Geom((thick, BLOCK, high), (-middle, 0.0, 0.0)),
        "wall_py": Geom((gap, thick, high), (0.0, middle, 0.0)),
        "wall_ny": Geom((gap, thick, high), (0.0, -middle, 0.0)),
        "floor_of_hole": Geom((gap, gap, 0.01), (0.0, 0.0, 0.015)),
    }


class PegExpert:
    """Aligns above the hole, goes down, and where the peg lands on the rim feels around in a growing spiral.

    The spiral is Archimedes', as wide as the hole is loose, walked at a constant pace.
    """

    HOVER = 0.006  # m above the rim; lower only when aligned
    PRESS = 0.2  # part of a full step, downwards, while searching; more, and friction holds the peg
    PULL = 2.0  # times the way to go, while searching: a step is added to where the peg sticks
    PACE = 0.0009  # m along the spiral per tick
    WIDEST = 0.0022  # m

    def __init__(self, options: Options):
        self._pitch = (
            1.6 * options.clearance
        )  # m between two turns: the hole is 2 clearances wide for the peg
        self._angle: float | None = None  # rad along the spiral; None: not searching

    def act(self, terms: Terms) -> np.ndarray:
        x, y, z = terms["target_error"][:3]
        turn = terms["target_error"][3:]
        above = z - DEPTH  # m over the rim
        if above > 0.012:
            self._angle = None
        is_pressed = terms["wrench"][2] < -1.0  # the block pushes the tool back along its z
        aside, down = np.array([x, y]), z
        if above > -0.004:
            if above > self.HOVER / 2 and (np.abs(aside).max() > 0.0012 or abs(turn[2]) > 0.03):
                down = above - self.HOVER
            elif is_pressed or self._angle is not None:
                aside = self.PULL * (aside + self._spiral())
                down = self.PRESS * TASK.translation_scale
        step = np.array([*aside, down]) / TASK.translation_scale
        return np.clip(np.concatenate([step, turn / TASK.rotation_scale]), -1.0, 1.0)

    def _spiral(self) -> np.ndarray:
        """Where to feel next, (2,) m beside the observed hole; starts anew when it has been all around."""
        angle = 0.0 if self._angle is None else self._angle
        radius = self._pitch * angle / (2 * np.pi)
        if radius > self.WIDEST:
            angle = radius = 0.0
        self._angle = angle + self.PACE / max(radius, self._pitch / 4)
        return radius * np.array([np.cos(angle), np.sin(angle)])


TASK = Task(
    name="peg_insert",
    title="the peg's end face is within 5 mm of 25 mm deep in the hole",
    scene=Path(__file__).parent / "scene.xml",
    options=Options(),
    draw=draw,
    succeeded=succeeded,
    expert=PegExpert,
    geoms=geoms,
    target_scale=(0.005, 0.05),  # the last millimetre is what counts
)
