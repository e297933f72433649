"""C.1: critic updates/s of the learner that sees two 128x128 cameras through a frozen trunk, sampling included.

Features are kept when an episode comes in; every second critic update comes with one of actor and temperature.
ResNet-10 has random weights here: its speed does not depend on them.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace

import jax
import numpy as np
from flax import traverse_util

from benchmarks import common, made_up
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.core.spec import Spec, View
from robostack.learn import trunks
from robostack.learn.config import Config
from robostack.learn.learner import Learner

CAPACITY = 2_500  # frames; a draw is as fast from few as from many
EPISODES, LENGTH = 10, 100
CASES = (("mirror", 64), ("mirror", 256), ("resnet10", 64), ("resnet10", 256))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of training, a repeat")


def measure(given: argparse.Namespace) -> list[Row]:
    spec = spec_of_cameras()
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_DATA_HOME"] = home
        give_weights("resnet10")
        learners = [Learner(spec, Config(trunk=t, batch=b), 0, CAPACITY) for t, b in CASES]
        looks: dict[str, list[float]] = {"mirror": [], "resnet10": []}
        for learner, (trunk, _) in zip(learners, CASES, strict=True):
            looks[trunk].append(fill(learner, spec))
            learner.train(2)  # compiles
        rates = [
            [rate(learner, given.seconds) for learner in learners] for _ in range(given.repeats)
        ]
    found = list(zip(*rates, strict=True))
    ids = ("C.1", "C.1b", "C.1c", "C.1d")
    rows = [row(id, common.median(each), each) for id, each in zip(ids, found, strict=True)]
    return [
        *rows,
        row("C.1e", 1e3 * min(looks["mirror"])),
        row("C.1f", 1e3 * min(looks["resnet10"])),
    ]


def spec_of_cameras() -> Spec:
    """peg_insert as a policy sees it through two cameras."""
    views = tuple(View(name, *size) for name, size in made_up.CAMERAS.items())
    return observe.spec_of(catalog.task("peg_insert"), views)


def give_weights(name: str) -> None:
    """Random weights, where the user's imported ones are looked for."""
    pictures = np.zeros((1, 128, 128, 3), np.uint8)
    made = trunks.network(name).init(jax.random.key(0), pictures)
    flat = traverse_util.flatten_dict(dict(made), sep="/")
    trunks.save(trunks.path_of(name), name, {path: np.asarray(x) for path, x in flat.items()})


def fill(learner: Learner, spec: Spec) -> float:
    """Made-up episodes with pictures; s a frame to take them in, after the first, which compiles."""
    pool, begun = made_up.pictures(), 0.0
    at = np.arange(LENGTH + 1) % len(pool)
    for number, episode in enumerate(made_up.episodes(spec, EPISODES, LENGTH, demonstrations=2)):
        learner.add([replace(episode, pictures=dict.fromkeys(made_up.CAMERAS, pool[at]))])
        begun = time.perf_counter() if number == 0 else begun
    return (time.perf_counter() - begun) / ((EPISODES - 1) * (LENGTH + 1))


def rate(learner: Learner, seconds: float) -> float:
    """Critic updates/s."""
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        learner.train(2)  # returns numbers, so it has waited for the device
        steps += 2
    return steps * learner.algorithm.config.critic_updates / (time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
