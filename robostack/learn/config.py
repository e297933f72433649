"""Choices of the learner, checked."""

from dataclasses import dataclass, field

from robostack.core.chunk import Execution
from robostack.core.errors import UnknownName, require
from robostack.learn import trunks

NO_TRUNK = "none"
METHODS = ("sac", "bc", "flow", "hg_dagger")
CLONING = METHODS[1:]  # learn from what the person did, and from nothing else
SHOWN = METHODS[1:3]  # learn from demonstrations alone: no practice


@dataclass(frozen=True)
class Flow:
    """Choices of a policy that plans chunks of actions along a learned flow."""

    horizon: int = 8  # actions of a chunk
    eta: float = 0.1  # deviation of the velocity that is worth a step of its own; 0: always `steps` equal ones
    steps: int = 20  # most of them, from noise to actions
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self):
        for name in ("horizon", "steps"):
            require(getattr(self, name) >= 1, f"flow.{name}", getattr(self, name), "at least 1")
        require(self.eta >= 0, "flow.eta", self.eta, "at least 0")


@dataclass(frozen=True)
class Offline:
    """Choices of learning from a log alone, without a robot."""

    expectile: float = 0.8  # of what the log's actions were worth; 0.5 is their mean, 1 the best
    sharpness: float = (
        3.0  # exponent of an action's weight for each step it was better by; 0: cloning
    )
    most: float = 100.0  # that one action may count

    def __post_init__(self):
        is_upper = 0.5 <= self.expectile < 1
        require(is_upper, "offline.expectile", self.expectile, "0.5 to less than 1")
        require(self.sharpness >= 0, "offline.sharpness", self.sharpness, "at least 0")
        require(self.most >= 1, "offline.most", self.most, "at least 1")


@dataclass(frozen=True)
class Config:
    """Choices of the learner; hashable, so that a jitted call is compiled once per choice."""

    widths: tuple[int, ...] = (256, 256)
    critics: int = 2
    target_critics: int = 2  # how many of them, drawn anew each update, make the target
    batch: int = 256  # rows per update, half of them the person's
    critic_updates: int = 2  # per learner step
    discount: float = 0.97
    n_step: int = 5  # steps whose rewards are summed before a value takes over
    rate: float = 3e-4  # Adam, all networks
    target_rate: float = 0.005  # of the moving average that makes the target critics
    served_rate: float = 0.005  # of the moving average of the actor that acts
    temperature: float = 0.01  # where it starts
    target_entropy: float = -0.5  # per action dimension
    entropy_backup: bool = False
    return_bounds: tuple[float, float] = (0.0, 1.0)
    # Whether running out of time is worth nothing, or as much as the state it happened in. The first is wrong in
    # principle, since time is not observed, and holds values down where they run away.
    timeouts_end: bool = False
    imitation: float = 0.1  # weight of the squared distance to the person's actions
    trunk: str = "mirror"  # frozen image network; "none": a small one, trained with the rest
    crops: int = 4  # features kept of each picture, all but one randomly shifted
    pad: int = 4  # px, most that a picture is shifted
    embeddings: int = 8  # learned weightings of the places of a feature map, per channel
    eye_width: int = 64  # numbers that a camera comes down to
    gripper_penalty: float = 0.02  # off the grippers' reward when one is switched
    gripper_margin: float = 0.05  # the person's choice is worth so much more than the others
    # Share of random choices of the grippers while exploring: one lets go of what is held, so none.
    gripper_epsilon: float = 0.0
    flow: Flow = field(default_factory=Flow)  # of the method "flow"
    offline: Offline = field(default_factory=Offline)  # of `robostack offline`

    def __post_init__(self):
        def needs(is_met: bool, name: str, expected: str) -> None:
            require(is_met, f"learner.{name}", getattr(self, name), expected)

        widths_fit = all(type(width) is int and width >= 1 for width in self.widths)
        needs(
            len(self.widths) >= 1 and widths_fit,
            "widths",
            "whole numbers from 1, such as [256,256]",
        )
        needs(self.critics >= 1, "critics", "at least 1")
        needs(
            1 <= self.target_critics <= self.critics,
            "target_critics",
            f"1 to critics = {self.critics}",
        )
        is_even = self.batch >= 2 and self.batch % 2 == 0
        needs(is_even, "batch", "an even number: half of it is the person's")
        needs(self.critic_updates >= 1, "critic_updates", "at least 1")
        needs(self.n_step >= 1, "n_step", "at least 1")
        needs(0 < self.discount < 1, "discount", "between 0 and 1")
        needs(self.rate > 0, "rate", "more than 0")
        for name in ("target_rate", "served_rate"):
            needs(0 < getattr(self, name) <= 1, name, "more than 0, at most 1")
        needs(self.temperature > 0, "temperature", "more than 0")
        is_ordered = len(self.return_bounds) == 2 and self.return_bounds[0] < self.return_bounds[1]
        needs(is_ordered, "return_bounds", "the lower and then the higher one")
        needs(self.imitation >= 0, "imitation", "at least 0")
        if self.trunk not in (*trunks.NETS, NO_TRUNK):
            raise UnknownName("trunk", self.trunk, [*trunks.NETS, NO_TRUNK], "learner.trunk")
        for name in ("crops", "embeddings", "eye_width"):
            needs(getattr(self, name) >= 1, name, "at least 1")
        for name in ("pad", "gripper_penalty", "gripper_margin"):
            needs(getattr(self, name) >= 0, name, "at least 0")
        needs(0 <= self.gripper_epsilon <= 1, "gripper_epsilon", "0 to 1")
