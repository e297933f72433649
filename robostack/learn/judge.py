"""A trained success classifier as a file, and at work: frames in, "done" out."""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from robostack.core.errors import BadValue, RobostackError
from robostack.core.success import Condition, agreed, all_hold
from robostack.core.task import Terms
from robostack.learn.policy import flatten, unflatten
from robostack.learn.success import Features, Head, Look, Norm, Norms, Sight, Trunk, logit
from robostack.store import tensors
from robostack.store.disk import write_whole

KIND, FORMAT = "robostack success classifier", 1
PROBE_TOLERANCE = 0.02  # of a logit, and as a share of it; machines differ by 1e-4, another resize by 0.1 and more


@dataclass(frozen=True)
class About:
    """What a classifier was made of and what it promises; stands in its file as JSON."""

    task: str
    looks: dict[str, Look]  # by camera
    trunk: str
    trunk_sha256: str
    embeddings: int
    width: int
    steps: int = 0  # of training
    counts: dict[str, int] = field(default_factory=dict)  # of labels, and episodes in each part
    needed: int = 2  # so many of the last `of` frames
    of: int = 3
    conditions: tuple[Condition, ...] = ()  # that a frame must meet to count
    alpha: float = 0.1  # most episodes that are called done before they are, as a share
    threshold: float | None = None  # logit; None until it is calibrated
    rates: dict[str, Any] = field(default_factory=dict)  # on episodes that nothing was chosen by
    probe: float | None = None  # the score of PROBE


class Classifier:
    """Owns a sight, a head's weights and what is known of them; scores frames."""

    def __init__(self, sight: Sight, weights: Any, norms: Norms, about: About):
        self.sight, self.weights, self.norms, self.about = sight, weights, norms, about
        head = Head(about.embeddings, about.width)
        self._logit = jax.jit(partial(logit, head))

    def score(self, pictures: Mapping[str, np.ndarray]) -> float:
        """Logit of one frame's pictures. Raises BadValue for pictures unlike those of its training."""
        return self.score_of(self.sight.see(pictures))

    def score_of(self, features: Features) -> float:
        """The same of what `sight.see` gave."""
        return float(self._logit(self.weights, self.norms, features))

    def with_about(self, **changes: Any) -> "Classifier":
        """The same weights, with more known of them."""
        return Classifier(self.sight, self.weights, self.norms, replace(self.about, **changes))

    def probed(self) -> float:
        """Score of pictures that are the same everywhere."""
        return self.score({name: _probe(look) for name, look in self.sight.looks.items()})


class Success:
    """A core.success.Judge: done when enough of the last frames score above the threshold and meet the conditions."""

    def __init__(self, classifier: Classifier):
        about = classifier.about
        if about.threshold is None:
            raise BadValue("a classifier without a threshold judges nothing; train it")
        self.classifier, self.about, self._threshold = classifier, about, about.threshold
        self._last: deque[tuple[float, bool]] = deque(maxlen=about.of)
        classifier.probed()  # compiles before the first tick

    @property
    def cameras(self) -> dict[str, tuple[int, int]]:
        return {name: (look.height, look.width) for name, look in self.about.looks.items()}

    def begin(self) -> None:
        self._last.clear()

    def is_done(self, terms: Terms, pictures: Mapping[str, np.ndarray]) -> bool:
        """Raises BadValue for pictures unlike those of its training, UnknownName for a term that is missing."""
        counts = bool(all_hold(self.about.conditions, terms))
        self._last.append((self.classifier.score(pictures), counts))
        scores, counted = (np.array(values) for values in zip(*self._last, strict=True))
        return bool(agreed(scores, counted, self.about.needed, self.about.of)[-1] > self._threshold)


def save(path: Path, classifier: Classifier) -> None:
    """Writes it at a stroke. Raises Unavailable."""
    arrays = {f"head/{name}": value for name, value in flatten(classifier.weights).items()}
    for camera, norm in classifier.norms.items():
        arrays |= {f"norm/{camera}/{name}": np.asarray(v) for name, v in norm._asdict().items()}
    about = asdict(replace(classifier.about, probe=classifier.probed(), conditions=()))
    about["conditions"] = [condition.text for condition in classifier.about.conditions]
    labels = {"kind": KIND, "format": str(FORMAT), "about": json.dumps(about)}
    write_whole(path, tensors.pack(arrays, labels))


def load(path: Path, load_trunk: Callable[[str], Trunk]) -> Classifier:
    """The classifier in a file, ready to serve.

    Raises RobostackError, in one line, for a file that is none or damaged, for one that was never trained, and where
    the trunk or the preparation of pictures is not what it was trained with.
    """
    try:
        labels, data = tensors.unpack(path)
        if labels.get("kind") != KIND:
            raise RobostackError(
                f"{path} is no success classifier; `robostack success train` makes one"
            )
        if labels["format"] != str(FORMAT):
            raise RobostackError(
                f"{path} has classifier format {labels['format']}, this robostack reads {FORMAT}"
            )
        about = _about(json.loads(labels["about"]))
        arrays = tensors.arrays(data)
    except tensors.UNREADABLE as error:
        raise RobostackError(f"{path} is damaged or no success classifier: {error}") from None
    if not about.steps or about.threshold is None or about.probe is None:
        raise RobostackError(
            f"{path} was never {'calibrated' if about.steps else 'trained'}; "
            "`robostack success train` does both"
        )
    trunk = load_trunk(about.trunk)
    if trunk.sha256 != about.trunk_sha256:
        raise RobostackError(
            f"{path} was trained on trunk {about.trunk} {about.trunk_sha256[:12]}, here {about.trunk} "
            f"is {trunk.sha256[:12]}; train it again, or bring that trunk back"
        )
    head = {n.removeprefix("head/"): v for n, v in arrays.items() if n.startswith("head/")}
    norms: Norms = {}
    for camera in about.looks:
        parts = [arrays.get(f"norm/{camera}/{name}") for name in Norm._fields]
        if any(part is None for part in parts):
            raise RobostackError(f"{path} is damaged: it holds no norm of {camera}")
        norms[camera] = Norm(*map(jax.numpy.asarray, parts))
    sight = Sight(trunk, about.looks)
    found = Classifier(sight, unflatten(head), norms, about)
    try:
        now = found.probed()
    except Exception as error:  # Flax and JAX raise what another shape leads to
        raise RobostackError(f"{path} does not fit trunk {about.trunk}: {_line(error)}") from None
    if not abs(now - about.probe) <= PROBE_TOLERANCE * max(1.0, abs(about.probe)):
        raise RobostackError(
            f"{path} was trained with another preparation of pictures: its probe scored "
            f"{about.probe:.3f} then and {now:.3f} now; train it again"
        )
    return found


def require_cameras(about: About, cameras: Mapping[str, tuple[int, int]], where: str) -> None:
    """Raises BadValue unless `cameras` give the pictures that the classifier was trained with."""
    for name, look in about.looks.items():
        got = cameras.get(name)
        if got is None or tuple(got) != (look.height, look.width):
            seen = ", ".join(f"{n} {h}x{w}" for n, (h, w) in cameras.items()) or "no camera"
            raise BadValue(
                f"{where} was trained on {name} {look.height}x{look.width}, the cell gives {seen}"
            )


def _about(data: dict[str, Any]) -> About:
    looks = {
        name: Look(look["height"], look["width"], tuple(look["crop"]), tuple(look["size"]))
        for name, look in sorted(data["looks"].items())
    }
    conditions = tuple(map(Condition.parse, data["conditions"]))
    return About(**{**data, "looks": looks, "conditions": conditions})


def _probe(look: Look) -> np.ndarray:
    """(H, W, 3) uint8, all frequencies, the same on every machine."""
    y, x, c = np.indices((look.height, look.width, 3))
    return ((7 * x + 13 * y + 29 * c + (x * y) // 5) % 256).astype(np.uint8)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
