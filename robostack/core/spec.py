"""What an observation and an action consist of: named terms with units, frames and scales."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from robostack.core.errors import SpecMismatch, UnknownName


@dataclass(frozen=True)
class Term:
    """A named slice of a vector. The vector holds value / scale, so a policy sees numbers near one."""

    name: str
    size: int
    unit: str
    frame: str
    scale: tuple[float, ...]

    def __post_init__(self):
        if len(self.scale) != self.size or not all(s > 0 for s in self.scale):
            raise SpecMismatch(
                f"term {self.name}: got scale {self.scale}, expected {self.size} positive numbers"
            )


@dataclass(frozen=True)
class View:
    """A camera that a policy looks through, and the size of its pictures, px."""

    name: str
    height: int
    width: int


@dataclass(frozen=True)
class Spec:
    """The contract between a task and the parameters trained on it."""

    observation: tuple[Term, ...]
    action: tuple[Term, ...]
    period: float  # s, control period
    views: tuple[View, ...] = ()  # what a policy sees beside the numbers

    @property
    def observation_size(self) -> int:
        return sum(term.size for term in self.observation)

    @property
    def action_size(self) -> int:
        return sum(term.size for term in self.action)

    @property
    def digest(self) -> str:
        """Twelve hex digits; equal specs, equal digests."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def as_dict(self) -> dict:
        """For JSON. 1 and 1.0 are written alike, or equal specs would have two digests."""

        def plain(terms: tuple[Term, ...]) -> list[dict]:
            return [{**asdict(term), "scale": [float(s) for s in term.scale]} for term in terms]

        views = {"views": [asdict(view) for view in self.views]} if self.views else {}
        return {
            "observation": plain(self.observation),
            "action": plain(self.action),
            "period": float(self.period),
            **views,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Spec":
        def terms(key: str) -> tuple[Term, ...]:
            return tuple(Term(**{**term, "scale": tuple(term["scale"])}) for term in data[key])

        observation, action = terms("observation"), terms("action")
        views = tuple(View(**view) for view in data.get("views", []))
        return Spec(observation, action, data["period"], views)

    def observation_slice(self, name: str) -> slice:
        """Where term `name` stands in the observation vector. Raises UnknownName."""
        return _slice(self.observation, name)

    def action_places(self, prefix: str) -> tuple[int, ...]:
        """Entries of the action that belong to terms whose name begins with `prefix`."""
        names = [term.name for term in self.action for _ in range(term.size)]
        return tuple(i for i, name in enumerate(names) if name.startswith(prefix))


def _slice(terms: tuple[Term, ...], name: str) -> slice:
    start = 0
    for term in terms:
        if term.name == name:
            return slice(start, start + term.size)
        start += term.size
    raise UnknownName("observation term", name, [term.name for term in terms])


def differences(got: Spec, expected: Spec) -> list[str]:
    """Every way in which two specs differ, one line each; empty when they are equal."""
    lines = []
    if got.period != expected.period:
        lines.append(f"period: got {got.period} s, expected {expected.period} s")
    if got.views != expected.views:
        lines.append(f"cameras: got {_told(got.views)}, expected {_told(expected.views)}")
    for kind in ("observation", "action"):
        ours = {term.name: term for term in getattr(expected, kind)}
        theirs = {term.name: term for term in getattr(got, kind)}
        lines += [f"{kind}.{name}: not expected" for name in theirs.keys() - ours.keys()]
        lines += [f"{kind}.{name}: missing" for name in ours.keys() - theirs.keys()]
        for name in ours.keys() & theirs.keys():
            lines += [
                f"{kind}.{name}.{key}: got {value}, expected {getattr(ours[name], key)}"
                for key, value in asdict(theirs[name]).items()
                if value != getattr(ours[name], key)
            ]
        if ours.keys() == theirs.keys() and list(ours) != list(theirs):
            lines.append(f"{kind}: order got {list(theirs)}, expected {list(ours)}")
    return sorted(lines)


def _told(views: tuple[View, ...]) -> str:
    return ", ".join(f"{view.name} {view.height}x{view.width}" for view in views) or "none"


def require_equal(got: Spec, expected: Spec, what: str) -> None:
    """Raises SpecMismatch with every difference when `got` is not `expected`."""
    if found := differences(got, expected):
        raise SpecMismatch(f"{what} do not fit the task: " + "; ".join(found))
