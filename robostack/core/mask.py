"""Action masking: early in practice a policy acts only in a box around what a guide would do; the box grows until open.

CAMEL, Zhao et al., arXiv 2502.11896. Deviations, on purpose. The box grows with the run's steps, where the paper takes
it off by a coin in each step: so what the policy's output stands for changes slowly, and not from one step to the next.
Its width belongs to a version of the weights, so that learner and actor never mean two things by one output. Grippers
are free. The policy that is checked and chosen acts without a mask.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robostack.core.errors import require
from robostack.core.guide import Source
from robostack.core.interact import Seen

OPEN = 2.0  # half-width from which on no box holds anything back: actions are in [-1, 1]
GUIDED = (
    "demonstration",
    "practice",
    "solo",
)  # kinds of episodes that say what the guide would have done


@dataclass(frozen=True)
class Mask:
    """Around whose actions, how closely, and for how long."""

    guide: str = ""  # "": no mask; "expert": the task's script; else a file of parameters
    width: float = 0.3  # half-width of the box at first, in units of full action
    open_by: float = 0.4  # share of the run's steps after which it is open

    def __post_init__(self):
        require(0 < self.width < OPEN, "mask.width", self.width, f"more than 0, below {OPEN}")
        require(0 < self.open_by <= 0.9, "mask.open_by", self.open_by, "more than 0, at most 0.9")

    def at(self, share: float) -> float:
        """Half-width of the box after this share of the run's steps."""
        if not self.guide or share >= self.open_by:
            return OPEN
        return self.width + (OPEN - self.width) * max(0.0, share) / self.open_by


@runtime_checkable
class Masked(Protocol):
    """A policy whose outputs stand for places in a box of this half-width."""

    width: float


def width_of(policy: object) -> float:
    """Half-width of a policy's box."""
    return policy.width if isinstance(policy, Masked) else OPEN


def boxed(unit: Any, guide: Any, width: Any) -> Any:
    """The action in [-1, 1] that an output in [-1, 1] stands for: from one side of the box to the other.

    Arrays of one shape, of numpy or of JAX; differentiable in `unit`.
    """
    low, high = (guide - width).clip(-1.0, 1.0), (guide + width).clip(-1.0, 1.0)
    return low + (unit + 1.0) / 2.0 * (high - low)


class Masker:
    """Owns a guide that says in every tick what it would do. `source` makes it anew for an episode."""

    def __init__(self, source: Callable[[], Source], arm: np.ndarray):
        self._make, self._arm = source, arm
        self._act: Source | None = None

    def begin(self, kind: str) -> None:
        """A new episode starts."""
        self._act = self._make() if kind in GUIDED else None
        self._is_practice = kind == "practice"

    def guide(self, seen: Seen) -> np.ndarray | None:
        """What the guide would do, (m,) in [-1, 1]; None where nobody will ask. Once a tick."""
        return None if self._act is None else np.clip(self._act(seen), -1.0, 1.0)

    def action(self, output: np.ndarray, guide: np.ndarray | None, width: float) -> np.ndarray:
        """What an output (m,) stands for: in practice, while the box is not open, another action."""
        if guide is None or not self._is_practice or width >= OPEN:
            return output
        action = output.copy()
        action[self._arm] = boxed(output[self._arm], guide[self._arm], width)
        return action
