"""C.11: what a straight line reads from the shipped trunk's features: the hole in the tool frame, peg_insert as built.

Ridge regression on one set of episodes, errors on another; its strength is chosen on a part of the first. The same is
done with random weights of the same network, and without looking at all.
"""

import argparse
import os
import time
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import numpy as np

from benchmarks import common
from benchmarks.rows import Row, row
from robostack.core import catalog
from robostack.learn import trunks
from robostack.learn.mirror_net import SIZE
from robostack.twin.sights import Sights

CAMERAS = ("wrist_camera", "front_camera")
RIDGES = 10.0 ** np.arange(0, 7)
BATCH = 64


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--moments", type=int, default=1600, help="to learn the line from")
    parser.add_argument("--fresh", type=int, default=400, help="moments to examine it on")
    parser.add_argument("--seed", type=int, default=100_000)


def measure(given: argparse.Namespace) -> list[Row]:
    trunk = trunks.load("mirror")
    known, fresh = (
        looked(given.seed + i, count) for i, count in enumerate((given.moments, given.fresh))
    )
    random: Any = jax.jit(trunk.module.init)(jax.random.key(0), known[0][0][:1])
    wrist = misses(trunk, trunk.weights, known, fresh, CAMERAS[:1])
    both = misses(trunk, trunk.weights, known, fresh, CAMERAS)
    shifted = misses(trunk, trunk.weights, known, fresh, CAMERAS[:1], shift=4)
    untrained = misses(trunk, random, known, fresh, CAMERAS[:1])
    blind = np.linalg.norm(known[1].mean(0) - fresh[1], axis=1) * 1e3
    near = np.linalg.norm(fresh[1], axis=1) < 0.02
    for name, errors in {
        "wrist": wrist,
        "both cameras": both,
        "wrist, shifted by up to 4 px": shifted,
        "random weights": untrained,
        "the mean": blind,
    }.items():
        print(
            f"{name}: median {np.median(errors):.2f} mm, 90th percentile {np.percentile(errors, 90):.2f} mm, "
            f"within 2 cm of the end {np.median(errors[near]):.2f} mm ({near.sum()} moments)"
        )
    rates = [rate(trunk, fresh[0][0]) for _ in range(5)]
    return [
        row("C.11", float(np.median(wrist)), np.percentile(wrist, [10, 50, 90])),
        row("C.11b", float(np.percentile(wrist, 90))),
        row("C.11c", float(np.median(both)), np.percentile(both, [10, 50, 90])),
        row("C.11d", float(np.median(untrained)), np.percentile(untrained, [10, 50, 90])),
        row("C.11e", float(np.median(blind)), np.percentile(blind, [10, 50, 90])),
        row("C.11f", common.median(rates), rates),
    ]


def looked(seed: int, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures of each camera (count, SIZE, SIZE, 3) in a plain cell, and the hole in the tool frame (count, 3), m."""
    sights = Sights(catalog.task("peg_insert"), catalog.robot("fr3"), SIZE, seed)
    try:
        shots = [
            [sights.look(cell, camera, changed=False, off_path=False) for camera in CAMERAS]
            for _, cell in zip(range(count), sights.moments(), strict=False)
        ]
    finally:
        sights.close()
    pictures = [np.stack([shot[i].picture for shot in shots]) for i in range(len(CAMERAS))]
    return pictures, np.stack([shot[0].labels["target_position"] for shot in shots])


def misses(trunk, weights, known, fresh, cameras, shift: int = 0) -> np.ndarray:
    """mm, by which the straight line misses the hole in the fresh moments."""
    x, new = (
        np.concatenate([seen(trunk, weights, set_[0][CAMERAS.index(c)], shift) for c in cameras], 1)
        for set_ in (known, fresh)
    )
    middle, spread = x.mean(0), x.std(0) + 1e-6
    x, new = (x - middle) / spread, (new - middle) / spread
    part = len(x) * 4 // 5
    tried = [
        np.median(distance(x[:part], known[1][:part], x[part:], known[1][part:], r)) for r in RIDGES
    ]
    return distance(x, known[1], new, fresh[1], RIDGES[int(np.argmin(tried))])


def distance(x, y, new, truth, ridge: float) -> np.ndarray:
    """mm between truth (n, 3) and ridge regression of y on x, both with the mean taken off."""
    middle = y.mean(0)
    if len(x) > x.shape[1]:
        read = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (y - middle))
    else:
        read = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y - middle)
    return np.linalg.norm(new @ read + middle - truth, axis=1) * 1e3


def seen(trunk, weights, pictures: np.ndarray, shift: int) -> np.ndarray:
    """(n, numbers) features, one row a picture; shifted at random as a learner does."""
    if shift:
        rng, size = np.random.default_rng(0), pictures.shape[1]
        padded = np.pad(pictures, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
        moves = rng.integers(0, 2 * shift + 1, (len(pictures), 2))
        pictures = np.stack(
            [p[a : a + size, b : b + size] for p, (a, b) in zip(padded, moves, strict=True)]
        )
    apply = jax.jit(trunk.features)
    parts = [apply(weights, pictures[i : i + BATCH]) for i in range(0, len(pictures), BATCH)]
    return np.concatenate([np.asarray(part).reshape(len(part), -1) for part in parts]).astype(float)


def rate(trunk, pictures: np.ndarray, batches: int = 8) -> float:
    """Pictures/s of features on one core, in batches of 64."""
    apply, some = jax.jit(trunk.features), np.resize(pictures, (BATCH, *pictures.shape[1:]))
    jax.block_until_ready(apply(trunk.weights, some))
    start = time.perf_counter()
    for _ in range(batches):
        jax.block_until_ready(apply(trunk.weights, some))
    return batches * BATCH / (time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
