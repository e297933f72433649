"""Labelled episodes to a success classifier and its figures; what the door `success` and its benchmark share."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from robostack.core import catalog, lie, observe
from robostack.core.errors import BadValue, RobostackError, require
from robostack.core.spec import Spec
from robostack.core.success import IN_BASE, Condition, all_hold, in_base
from robostack.core.task import Task, Terms
from robostack.core.types import Episode
from robostack.learn import success as learning
from robostack.learn.judge import About, Classifier
from robostack.learn.success import Features, Look, Sight, Trunk
from robostack.store import blind, labels
from robostack.store.episode import recover, tool_poses
from robostack.store.labels import NO, UNSURE, YES
from robostack.store.run import read_json
from robostack.store.verify import episode_files
from robostack.study import conformal, verdicts
from robostack.study.verdicts import Judged, Report

VARIANTS = 4  # of a frame in training: as it is, and with the camera moved and other light
MOST_FRAMES = 4000  # in training; of more, some without success are left out by chance
SHARES = (0.5, 0.3, 0.2)  # of episodes: to train, to calibrate, to examine


@dataclass(frozen=True)
class Recorded:
    """One episode with what is measured and true in each of its T + 1 frames."""

    path: Path
    episode: Episode
    terms: Terms  # as observe.terms_of has them as far as they are recorded, and `tool_in_base`
    labels: np.ndarray  # (T + 1,) YES, NO, UNSURE; UNSURE where a camera was blind


Labelled = tuple[Path, np.ndarray]  # an episode's file, and a label for each frame


def read(chosen: Labelled, say: Callable[[str], None]) -> Recorded:
    """An episode with its labels. Frames in which something is broken become UNSURE, and are told of.

    Raises BadValue where the labels are of another length.
    """
    path, frames = chosen
    recording = recover(path)
    episode, spec = recording.episode, recording.spec
    count = len(episode.observations)
    frames = frames.copy()
    if len(frames) != count:
        raise BadValue(
            f"{path} has {count} frames, its labels are for {len(frames)}; label it again"
        )
    if found := blind.faults(spec, episode):
        say(f"{path.name}, {blind.told(episode, found)}")
        frames[np.any([fault.frames for fault in found], 0)] = UNSURE
    terms = observe.unpack(spec, episode.observations)
    return Recorded(path, episode, {**terms, IN_BASE: in_base(tool_poses(path))}, frames)


def labelled(folders: Iterable[Path]) -> list[Labelled]:
    """All labelled episodes of these folders, in order. Raises RobostackError where there is none."""
    found = []
    folders = list(folders)
    for folder in folders:
        here = home(folder)
        marks = labels.load(here)
        names = {path.name: path for path in episode_files(folder)}
        for name, frames in (marks.frames if marks else {}).items():
            if name not in names:
                raise BadValue(f"{here / labels.FILE} has labels of {name}, which is not there")
            found.append((names[name], frames))
    if not found:
        where = ", ".join(map(str, folders))
        raise RobostackError(
            f"no labelled episodes in {where}; `robostack success label` makes labels"
        )
    return found


def home(folder: Path) -> Path:
    """Where the episodes of a run folder, or of an episodes folder, and their labels lie. Raises RobostackError."""
    return episode_files(folder)[0].parent


def task_of(path: Path, episode: Episode) -> Task:
    """The task of an episode, with the options of its run where it lies in one. Raises UnknownName."""
    config = read_json(path.parent.parent / "config.json", {})
    options = config.get("options", {}) if isinstance(config, dict) else {}
    return catalog.task(episode.header.task, **options)


def by_geometry(path: Path, spec: Spec, episode: Episode) -> np.ndarray:
    """(T + 1,) labels by the task's own geometry.

    In the mirror the true place of the target is in the episode; elsewhere it is where the cell believed it to be.
    Raises RobostackError where neither is known.
    """
    task, terms = task_of(path, episode), observe.unpack(spec, episode.observations)
    if target := episode.header.drawn.get("target"):
        left = lie.between(tool_poses(path), np.broadcast_to(np.array(target, float), (1, 7)))
        terms["target_error"] = in_base(left)
    if "target_error" not in terms or (task.object and "object_error" not in terms):
        raise RobostackError(
            f"{path} does not say where the target or the object was; label it with --by person"
        )
    return np.where(task.succeeded(task.options, terms), YES, NO).astype(np.int8)


def parts(count: int, seed: int, shares: Sequence[float] = SHARES) -> list[np.ndarray]:
    """Numbers of the episodes to train, calibrate and examine with. By chance alone, or the promise would not hold."""
    order = np.random.default_rng(seed).permutation(count)
    stops = np.round(np.cumsum(shares)[:-1] * count).astype(int)
    return [np.sort(part) for part in np.split(order, stops)]


@dataclass(frozen=True)
class Choices:
    """What a person chooses of a classifier."""

    looks: Mapping[str, Look] | None = None  # None: all cameras, all of their pictures
    conditions: tuple[Condition, ...] = ()
    needed: int = 2
    of: int = 3
    alpha: float = 0.05  # most episodes called done before they are, as a share
    at_least: float = (
        0.7  # probability below which nothing is called done, whatever the calibration says
    )
    seed: int = 0
    variants: int = VARIANTS
    training: learning.Training = field(default_factory=learning.Training)

    def __post_init__(self):
        require(0.0 < self.alpha < 1.0, "alpha", self.alpha, "between 0 and 1")
        require(0.0 < self.at_least < 1.0, "at-least", self.at_least, "between 0 and 1")
        require(
            1 <= self.needed <= self.of, "agree", f"{self.needed}/{self.of}", "m/n, 1 <= m <= n"
        )


@dataclass(frozen=True)
class Made:
    """A classifier, and how the episodes were split for it."""

    classifier: Classifier
    examined: list[Judged]
    report: Report
    split: dict[str, list[str]]  # file names
    info: dict[str, float]


def train(
    chosen: Sequence[Labelled],
    trunk: Trunk,
    choices: Choices,
    say: Callable[[str], None] = print,
    track: Callable[[list, str], Iterable] = lambda items, what: items,
) -> Made:
    """Trains on some of the labelled episodes, calibrates on others and examines with the rest.

    Raises BadValue where there are too few of them for the promise.
    """
    train_on, calibrate_on, examine_on = parts(len(chosen), choices.seed)
    least = conformal.least(choices.alpha)
    if len(calibrate_on) < least:
        needed = next(n for n in range(1, 10**6) if len(parts(n, 0)[1]) >= least)
        fits = int(np.ceil(1000 / (len(calibrate_on) + 1))) / 1000
        way_out = f", or choose --alpha {fits} or more" if fits < 1 else ""
        raise BadValue(
            f"{len(chosen)} labelled episodes leave {len(calibrate_on)} to calibrate on, alpha {choices.alpha} needs "
            f"{least}: label {needed - len(chosen)} more{way_out}"
        )
    recorded = [read(chosen[i], say) for i in train_on[:1]]
    looks = dict(choices.looks or _all_of(recorded[0]))
    sight = Sight(trunk, looks)
    features, is_success, counts = _training_set(sight, chosen, train_on, choices, say, track)
    weights, norms, info = learning.fit(features, is_success, choices.training, choices.seed)
    del features
    about = About(
        task=recorded[0].episode.header.task,
        looks=looks,
        trunk=trunk.name,
        trunk_sha256=trunk.sha256,
        embeddings=choices.training.embeddings,
        width=choices.training.width,
        steps=choices.training.steps,
        needed=choices.needed,
        of=choices.of,
        conditions=choices.conditions,
        alpha=choices.alpha,
    )
    raw = Classifier(sight, weights, norms, about)

    def judged(part: np.ndarray, what: str) -> list[Judged]:
        return [judge(raw, read(chosen[i], say)) for i in track(list(part), what)]

    calibration, examined = judged(calibrate_on, "calibrating"), judged(examine_on, "examining")
    floor = float(np.log(choices.at_least / (1.0 - choices.at_least)))
    threshold = verdicts.calibrated(calibration, choices.alpha, choices.needed, choices.of, floor)
    report = verdicts.report(examined, threshold, choices.needed, choices.of)
    split = {
        name: [chosen[i][0].name for i in part]
        for name, part in zip(
            ("train", "calibrate", "examine"), (train_on, calibrate_on, examine_on), strict=True
        )
    }
    counts |= {f"episodes to {name}": len(names) for name, names in split.items()}
    rates = json.loads(json.dumps(asdict(report)).replace("NaN", "null"))
    classifier = raw.with_about(threshold=threshold, counts=counts, rates=rates)
    return Made(classifier, examined, report, split, info)


def judge(classifier: Classifier, recorded: Recorded) -> Judged:
    """Scores every frame after a step, as at work: one by one."""
    episode = recorded.episode
    scores = [classifier.score(_frame(episode, i)) for i in range(1, len(episode.observations))]
    counts = all_hold(classifier.about.conditions, recorded.terms)[1:]
    return Judged(np.array(scores), counts, recorded.labels[1:])


def _training_set(
    sight: Sight,
    chosen: Sequence[Labelled],
    which: np.ndarray,
    choices: Choices,
    say: Callable[[str], None],
    track: Callable[[list, str], Iterable],
) -> tuple[Features, np.ndarray, dict[str, int]]:
    """Features (N, V, h, w, C) by camera, labels (N,) bool, and counts of labels."""
    rng = np.random.default_rng(choices.seed)
    kinds = {"success": YES, "no success": NO, "unsure": UNSURE}
    every = np.concatenate([chosen[i][1] for i in which])
    counts = {name: int(np.count_nonzero(every == kind)) for name, kind in kinds.items()}
    room = max(MOST_FRAMES - counts["success"], counts["success"])
    share = min(
        1.0, room / max(1, counts["no success"])
    )  # of frames without success that are taken
    found: dict[str, list] = {name: [] for name in sight.looks}
    is_success: list[bool] = []
    for i in track(list(which), "encoding"):
        recorded = read(chosen[i], say)
        for t, label in enumerate(recorded.labels):
            if label == UNSURE or (label == NO and rng.random() >= share):
                continue
            pictures = sight.checked(_frame(recorded.episode, t))
            views = [
                pictures,
                *(learning.varied(pictures, rng) for _ in range(choices.variants - 1)),
            ]
            seen = [sight.see(view) for view in views]
            for name, values in found.items():
                values.append(np.stack([one[name] for one in seen]))
            is_success.append(label == YES)
    if not is_success:
        raise BadValue("no frame to train on: all are unsure")
    return {name: np.stack(values) for name, values in found.items()}, np.array(is_success), counts


def _all_of(recorded: Recorded) -> dict[str, Look]:
    cameras = recorded.episode.header.cameras
    if not cameras:
        raise BadValue(f"{recorded.path} has no pictures; record them with pictures=[…] of a run")
    return {name: Look.whole(*size) for name, size in cameras.items()}


def _frame(episode: Episode, i: int) -> dict[str, np.ndarray]:
    return {name: pictures[i] for name, pictures in episode.pictures.items()}
