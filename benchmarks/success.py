"""C.13 to C.15: how often a success classifier is wrong on fresh episodes of the mirror, by episode and by frame.

Episodes are made as `robostack success collect` makes them: tries that aim right, beside, or stop short, one after
another, so most of each episode is a near miss. 120 are labelled by geometry, to train and calibrate on; the 100 that
count are played afterwards with other seeds.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.rows import Row, row
from robostack import judging, probe
from robostack.core import catalog
from robostack.core.guard import Guard
from robostack.core.plant import GuardedPlant
from robostack.core.success import Condition
from robostack.judging import Choices, Labelled
from robostack.learn import trunks
from robostack.learn.judge import Success
from robostack.store import labels
from robostack.store.episode import recover
from robostack.study import conformal, verdicts
from robostack.study.verdicts import Judged, Rate
from robostack.twin.plant import TwinPlant

CAMERAS = ("wrist_camera", "front_camera")
CONDITIONS = {  # that must hold for a frame to count
    "peg_insert": ("tool_in_base.z <= 0.045",),  # the peg's end is below the rim, 5 mm
    "reach": (),
}
IDS = {
    "peg_insert": {
        "early": "C.13",
        "missed": "C.13b",
        "late": "C.13c",
        "false frames": "C.13d",
        "missed frames": "C.13e",
        "no condition": "C.13f",
        "one frame": "C.13g",
        "one frame, no condition": "C.13h",
        "by frame": "C.13i",
        "time": "C.15",
    },
    "reach": {
        "early": "C.14",
        "missed": "C.14b",
        "late": "C.14c",
        "false frames": "C.14d",
        "missed frames": "C.14e",
        "one frame, no condition": "C.14h",
        "by frame": "C.14i",
    },
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--episodes", type=int, default=120, help="to train and calibrate on")
    parser.add_argument("--fresh", type=int, default=100)
    parser.add_argument("--trunk", default="mirror")
    parser.add_argument("--seed", type=int, default=0)


def measure(given: argparse.Namespace) -> list[Row]:
    rows = []
    for task in IDS:
        rows += _task(task, given)
    return sorted(rows, key=lambda each: each.id)


def _task(name: str, given: argparse.Namespace) -> list[Row]:
    conditions = tuple(map(Condition.parse, CONDITIONS[name]))
    with tempfile.TemporaryDirectory() as folder:
        known = _played(name, Path(folder) / "known", given.episodes, 2 * given.seed)
        made = judging.train(
            known,
            trunks.load(given.trunk),
            Choices(conditions=conditions, seed=given.seed),
        )
        fresh = _played(name, Path(folder) / "fresh", given.fresh, 2 * given.seed + 1)
        recorded = [judging.read(each, print) for each in fresh]
        judged = [judging.judge(made.classifier, each) for each in recorded]
        calibration = [each for each in known if each[0].name in made.split["calibrate"]]
        frames = [judging.judge(made.classifier, judging.read(each, print)) for each in calibration]
        seconds = _times(Success(made.classifier), recorded[0])
    about = made.classifier.about
    threshold = about.threshold
    assert threshold is not None
    print(f"{name}: {about.counts}, threshold {threshold:.2f}, last losses {made.info}")
    served = verdicts.report(judged, threshold, about.needed, about.of)
    loose = verdicts.report(judged, threshold, about.needed, about.of, with_conditions=False)
    single = verdicts.report(judged, threshold, 1, 1)
    bare = verdicts.report(judged, threshold, 1, 1, with_conditions=False)
    by_frame = verdicts.report(judged, _by_frame(frames, about.alpha), 1, 1, with_conditions=False)
    rates = {
        "early": served.false_episodes,
        "missed": served.missed_episodes,
        "false frames": served.false_frames,
        "missed frames": served.missed_frames,
        "no condition": loose.false_episodes,
        "one frame": single.false_episodes,
        "one frame, no condition": bare.false_episodes,
        "by frame": by_frame.false_episodes,
    }
    ids = IDS[name]
    found = [_row(ids[what], rate) for what, rate in rates.items() if what in ids]
    found.append(row(ids["late"], served.delay))
    if "time" in ids:
        found.append(row(ids["time"], common.percentile(seconds, 99) * 1e3))
    return found


def _played(name: str, folder: Path, count: int, seed: int) -> list[Labelled]:
    """Episodes on the disk, labelled by geometry."""
    task, robot = catalog.task(name), catalog.robot("fr3")
    guard = Guard(robot.safety, task.period)
    plant = GuardedPlant(TwinPlant(task, robot, cameras=CAMERAS), guard)
    folder.mkdir()
    try:
        for _ in probe.play(plant, task, robot, folder, count, seed):
            pass
    finally:
        plant.close()
    marks = labels.Labels("geometry")
    for path in sorted(folder.iterdir()):
        episode, spec, _ = recover(path, has_pictures=False)
        marks.frames[path.name] = judging.by_geometry(path, spec, episode)
    labels.save(folder, marks)
    print(f"{name}, seed {seed}: {marks.counts()}", flush=True)
    return judging.labelled([folder])


def _by_frame(episodes: list[Judged], alpha: float) -> float:
    """The threshold as if every frame were a question of its own."""
    before = [e.scores[: e.first][e.labels[: e.first] == labels.NO] for e in episodes]
    return conformal.threshold(np.concatenate(before), alpha)


def _times(success: Success, recorded: judging.Recorded) -> list[float]:
    """s that each frame of an episode takes."""
    found = []
    success.begin()
    for t in range(1, len(recorded.labels)):
        terms = {name: values[t] for name, values in recorded.terms.items()}
        pictures = {name: values[t] for name, values in recorded.episode.pictures.items()}
        start = time.perf_counter()
        success.is_done(terms, pictures)
        found.append(time.perf_counter() - start)
    return found


def _row(id: str, rate: Rate) -> Row:
    return row(id, 100 * rate.share, [100 * rate.low, 100 * rate.high])


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
