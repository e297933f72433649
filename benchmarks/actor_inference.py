"""C.3: what an action costs the actor, from numbers and from two cameras, alone and exploring: 99th percentiles."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks import common
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.core.spec import Spec, View
from robostack.learn import trunks
from robostack.learn.config import Config
from robostack.learn.policy import LearnedPolicy, publish
from robostack.learn.sac import Sac
from robostack.ros import environment
from robostack.store import params

VIEWS = (View("wrist", 128, 128), View("front", 128, 128))
PAUSE = 0.02  # s between actions: one after the other they would find everything in the caches


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--actions", type=int, default=500, help="of each kind, in three windows")


def measure(given: argparse.Namespace) -> list[Row]:
    os.environ.update(
        environment.ONE_THREAD
    )  # as `robostack train` starts the actor; before JAX looks
    found = []
    for figure, views, trunk in (
        ("C.3", (), "mirror"),
        ("C.3b", VIEWS, "mirror"),
        ("C.3c", VIEWS, "resnet10"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            if not trunks.path_of(trunk).is_file():
                make_up(trunk, Path(folder))
            spec = observe.spec_of(catalog.task("peg_insert"), views)
            policy = make_policy(spec, trunk, Path(folder))
        worst = []
        for name, rng in (("alone", None), ("exploring", np.random.default_rng(0))):
            times = durations(policy, spec, rng, given.actions)
            windows = [common.percentile(part, 99) for part in np.array_split(times, 3)]
            p99 = common.percentile(times, 99)
            worst.append((p99, windows))
            print(
                f"{figure:<5}{name:<10} median {common.median(times):.2f} ms, 99 % {p99:.2f}, longest {max(times):.2f}"
            )
        found.append(row(figure, *max(worst)))
    return found


def make_policy(spec: Spec, trunk: str, folder: Path) -> LearnedPolicy:
    """A fresh one, from a parameter file as an actor has it."""
    sac = Sac(spec, Config(trunk=trunk))
    acting = sac.acting(sac.init(jax.random.key(0)))
    path = publish(folder, 0, acting, sac.network, spec)
    return LearnedPolicy(spec, params.load(path, spec))


def durations(
    policy: LearnedPolicy, spec: Spec, rng: np.random.Generator | None, actions: int
) -> list[float]:
    """ms from observation and pictures to an action in numpy, of each after a tenth of them to get going."""
    draw, found = np.random.default_rng(1), []
    shapes = {view.name: (view.height, view.width, 3) for view in spec.views}
    for _ in range(actions + actions // 10):
        numbers = draw.normal(size=spec.observation_size).astype(np.float32)
        pictures = {n: draw.integers(0, 256, shape, np.uint8) for n, shape in shapes.items()}
        time.sleep(PAUSE)
        start = time.perf_counter()
        policy.act(numbers, rng, pictures)
        found.append(1e3 * (time.perf_counter() - start))
    return found[actions // 10 :]


def make_up(trunk: str, folder: Path) -> None:
    """Weights by chance for one that is not imported here: they cost what the others cost."""
    os.environ["XDG_DATA_HOME"] = str(folder)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.05, leaf.shape).astype(np.float32)
        for name, leaf in trunks.shapes(trunk).items()
    }
    trunks.save(trunks.path_of(trunk), trunk, weights, "by chance, for a benchmark")


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
