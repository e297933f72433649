"""Pick a cube up from the table, put it on a pad and let go of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robostack.core import lie
from robostack.core.errors import BadValue
from robostack.core.task import Geom, Setup, Task, Terms

OBJECTS = np.array([0.5, -0.09])  # m, base frame, middle of where cubes are drawn, on the table
PADS = np.array([0.5, 0.11])  # m, the same of pads
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # wxyz, tool z along -z of base, tool x along base x
OPENS = 0.08  # m between the fingers of the open gripper
LIES = 0.004  # m beside its height on the pad at which the cube still lies on it
UPRIGHT = 0.1  # rad that it may be tilted
LOOSE = 0.010  # m that the gripper is wider open than the cube when it has let go


def _faces() -> np.ndarray:
    """(24, 4) rotations that bring a cube onto itself."""
    quarter = np.pi / 2 * np.eye(3)
    sides = [*(n * quarter[0] for n in range(4)), quarter[1], -quarter[1]]
    turns = [n * quarter[2] for n in range(4)]
    return np.array(
        [lie.quat_multiply(lie.so3_exp(a), lie.so3_exp(b)) for a in sides for b in turns]
    )


FACES = _faces()


@dataclass(frozen=True)
class Options:
    """m and rad. Defaults: what is measured."""

    side: float = 0.04  # of the cube
    object_aside: float = 0.06  # the cube lies this far along x and y from the middle
    object_yaw: float = np.deg2rad(30.0)  # and is turned by so much
    pad_aside: float = 0.04  # the pad is this far along x and y from the middle
    start_aside: float = 0.05  # the tool starts this far along x and y between the two
    start_low: float = 0.12  # lowest start of the tool over the table
    start_high: float = 0.18
    tolerance: float = 0.02  # of the cube's middle from the pad's

    def __post_init__(self):
        if not 0.03 <= self.side <= 0.05:
            raise BadValue(f"pick_place: side {self.side} m, expected 0.03 to 0.05 m")
        for name, most in (("object_aside", 0.06), ("pad_aside", 0.04), ("start_aside", 0.08)):
            if not 0.0 <= getattr(self, name) <= most:
                raise BadValue(
                    f"pick_place: {name} {getattr(self, name)} m, expected 0 to {most} m"
                )
        if not 0.0 <= self.object_yaw <= np.pi / 4:
            raise BadValue(f"pick_place: object_yaw {self.object_yaw} rad, expected 0 to pi / 4")
        if not 0.1 <= self.start_low <= self.start_high <= 0.25:
            raise BadValue(
                f"pick_place: starts {self.start_low} to {self.start_high} m over the table, "
                "expected 0.1 <= start_low <= start_high <= 0.25"
            )
        if not 0.003 <= self.tolerance <= 0.02:
            raise BadValue(f"pick_place: tolerance {self.tolerance} m, expected 0.003 to 0.02 m")


def draw(options: Options, rng: np.random.Generator) -> Setup:
    """A start between cube and pad, a cube on the table on one side, a pad on the other."""
    cube = OBJECTS + rng.uniform(-options.object_aside, options.object_aside, 2)
    yaw = rng.uniform(-options.object_yaw, options.object_yaw)
    pad = PADS + rng.uniform(-options.pad_aside, options.pad_aside, 2)
    start = (OBJECTS + PADS) / 2 + rng.uniform(-options.start_aside, options.start_aside, 2)
    height = rng.uniform(options.start_low, options.start_high)
    lying = lie.from_yaw(np.array([*cube, options.side / 2]), yaw)
    target = lie.pose([*pad, 1.5 * options.side], DOWN)
    turned = lie.compose(lying, lie.pose(np.zeros(3), DOWN))
    return Setup(lie.pose([*start, height], DOWN), target, target, turned)


def alike(pose: np.ndarray) -> np.ndarray:
    """A cube shows no difference between its faces: the pose (..., 7) with z down and x along base x, nearly."""
    turns = lie.quat_multiply(pose[..., None, 3:], FACES)  # (..., 24, 4)
    _, x, y, z = np.moveaxis(turns, -1, 0)
    is_down, is_ahead = (
        x * x + y * y,
        -y * y - z * z,
    )  # up to a factor, z against base z, x along base x
    best = np.argmax(10.0 * is_down + is_ahead, -1)[..., None, None]
    return np.concatenate([pose[..., :3], np.take_along_axis(turns, best, -2)[..., 0, :]], -1)


def from_pad(terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """The cube's place (..., 3), m, from where it should lie, in the frame of that place, and its tilt (...), rad."""
    goal, cube = terms["target_error"], terms["object_error"]
    back = lie.quat_conjugate(lie.so3_exp(goal[..., 3:]))
    turn = lie.quat_multiply(back, lie.so3_exp(cube[..., 3:]))
    tilt = 2.0 * np.arcsin(np.clip(np.linalg.norm(turn[..., 1:3], axis=-1), 0.0, 1.0))
    return lie.rotate(back, cube[..., :3] - goal[..., :3]), tilt


def is_let_go(options: Options, terms: Terms) -> np.ndarray:
    """Whether the gripper is wider open than what it could hold."""
    return OPENS * terms["gripper"][..., 0] > options.side + LOOSE


def succeeded(options: Options, terms: Terms) -> np.ndarray:
    """The cube lies on the pad, on whichever face, and nobody holds it."""
    place, tilt = from_pad(terms)
    is_there = np.linalg.norm(place[..., :2], axis=-1) < options.tolerance
    return is_there & (np.abs(place[..., 2]) < LIES) & (tilt < UPRIGHT) & is_let_go(options, terms)


def left(options: Options, terms: Terms) -> np.ndarray:
    """From the tool to the cube and from the cube to the pad, as seen from above, m."""
    del options
    place, _ = from_pad(terms)
    return np.linalg.norm(terms["object_error"][..., :3], axis=-1) + np.linalg.norm(
        place[..., :2], axis=-1
    )


def geoms(options: Options) -> dict[str, Geom]:
    """A cube of this size, and under one that lies on it the pad: as high, so that no push gets a cube up."""
    half = options.side / 2
    return {
        "cube": Geom((half,) * 3, (0.0, 0.0, 0.0)),
        "pad": Geom((0.045, 0.045, half), (0.0, 0.0, options.side)),
    }


class PickExpert:
    """Over the cube with open fingers, down, close, up, over the pad, down, open; begins anew when it lost the cube."""

    HOVER = 0.05  # m over the cube, lower only when aligned
    ALIGNED, ALIGNED_TURN = 0.006, 0.08  # m, rad; and twice as much on the way down
    CLEAR = 0.025  # m over where it will lie, at which the cube is carried
    PLACED = 0.006  # m beside the middle of the pad that are good enough
    LOW = 0.003  # m over where it lies at which the cube is let go
    GRIP = 4  # ticks in which the fingers are surely closed
    TOUCHING = 0.001  # m wider open than the cube: the fingers are at it

    def __init__(self, options: Options):
        self._options = options
        self._closed = 0  # ticks since the fingers began to close; 0: they are open
        self._is_letting_go = False

    def act(self, terms: Terms) -> np.ndarray:
        if self._is_letting_go and is_let_go(self._options, terms):
            self._is_letting_go = False
        if self._has_lost(terms):
            self._closed = 0
        if self._is_letting_go:
            way, turn = np.zeros(3), np.zeros(3)
        elif self._closed:
            self._closed += 1
            way, turn = self._carry(terms)
        else:
            way, turn = self._approach(terms)
        # A step is added to where the tool was sent, which is not where it is.
        behind = terms["reference_error"]
        arm = np.concatenate([way, turn]) - behind
        action = np.append(arm / TASK.action_scale, -1.0 if self._closed else 1.0)
        return np.clip(action, -1.0, 1.0)

    def _has_lost(self, terms: Terms) -> bool:
        is_shut = OPENS * terms["gripper"][0] < self._options.side - LOOSE
        is_far = np.linalg.norm(terms["object_error"][:3]) > 0.03
        return bool(is_far or (is_shut and self._closed > self.GRIP))

    def _approach(self, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
        """To where the tool may close around the cube."""
        x, y, deep = terms["object_error"][:3]
        turn = terms["object_error"][3:]
        slack = 2.0 if deep < 0.8 * self.HOVER else 1.0
        is_aligned = np.hypot(x, y) < slack * self.ALIGNED
        is_aligned &= abs(turn[2]) < slack * self.ALIGNED_TURN
        if is_aligned and abs(deep) < self.ALIGNED and is_let_go(self._options, terms):
            self._closed = 1
        return np.array([x, y, deep if is_aligned else deep - self.HOVER]), turn

    def _carry(self, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
        """To where the tool may let go; along the tool's axes, which are nearly the pad's but for the yaw."""
        still = np.zeros(3)
        # Until the fingers are at the cube, by what is seen: a count of ticks could not be learned from what is seen.
        if OPENS * terms["gripper"][0] > self._options.side + self.TOUCHING:
            return still, still
        place, tilt = from_pad(terms)
        aside, height = float(np.linalg.norm(place[:2])), -place[2]
        x, y, down = terms["target_error"][:3] - terms["object_error"][:3]
        # A tilted cube touches the pad with an edge, and lies down when it is let go.
        if aside < self.PLACED and height < self.LOW + 0.7 * self._options.side * np.sin(tilt):
            self._closed, self._is_letting_go = 0, True
            return still, still
        if aside > 2 * self.PLACED:  # up before aside
            down -= self.CLEAR
            if height < 0.6 * self.CLEAR:
                x = y = 0.0
        cube, goal = (lie.so3_exp(terms[f"{name}_error"][3:]) for name in ("object", "target"))
        return np.array([x, y, down]), lie.so3_log(
            lie.quat_multiply(goal, lie.quat_conjugate(cube))
        )


TASK = Task(
    name="pick_place",
    title="the cube lies on the pad, within 20 mm of its middle, and the gripper has let go of it",
    scene=Path(__file__).parent / "scene.xml",
    options=Options(),
    draw=draw,
    succeeded=succeeded,
    expert=PickExpert,
    geoms=geoms,
    left=left,
    alike=alike,
    translation_scale=0.02,
    rotation_scale=0.08,
    reference="commanded",  # a held thing's weight would pull a measured one down, step by step
    axes=("precise",) * 6,
    gripper=True,
    object=True,
    target_scale=(0.05, 0.3),
)
