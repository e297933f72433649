"""C.16: what the versions kept of each picture cost and give: 1, 4 and 8 of them. An hour.

Cost: the time of a frame of two cameras into the memory, and the memory of 100,000 such frames. What they give is
looked for where overfitting to pictures shows most: policies cloned from 20 demonstrations of peg_insert through two
cameras, three seeds, each examined on 100 fresh episodes.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import common, demo, pixels, whole_run
from benchmarks.rows import Row, row
from robostack.config import RunConfig
from robostack.learn.config import Config
from robostack.learn.learner import Learner

COSTS = {1: "C.16", 4: "C.16b", 8: "C.16c"}
GIVES = {1: "C.16d", 4: "C.16e", 8: "C.16f"}
SEEDS = 3
WORDS = ("train", "peg_insert", "--observe", "cameras", "--no-film")
CHOICES = ("plant=twin", "method=bc")


def measure(given: argparse.Namespace) -> list[Row]:
    spec, rows = pixels.spec_of_cameras(), list[Row]()
    for crops, name in COSTS.items():
        learner = Learner(spec, Config(crops=crops, batch=64), 0, pixels.CAPACITY)
        rows.append(row(name, 1e3 * pixels.fill(learner, spec)))
    with tempfile.TemporaryDirectory() as temporary:
        for crops, name in GIVES.items():
            place = (given.runs or Path(temporary)) / f"crops-{crops}"
            words = [f"--set={choice}" for choice in (*CHOICES, f"learner.crops={crops}")]
            found = [demo.play(seed, place, *WORDS, *words) for seed in given.seeds]
            for each in found:
                print(f"{crops} crops, {each}", flush=True)
            successes = [each.successes for each in found]
            failed = any(each.failure for each in found)
            rows.append(row(name, float(np.mean(successes)), successes, failed=failed))
    rows.append(row("C.16g", memory(4) / 1e9, [memory(crops) / 1e9 for crops in COSTS]))
    return sorted(rows, key=lambda each: each.id)


def memory(crops: int) -> float:
    """Bytes of 100,000 frames of two cameras."""
    return RunConfig(observe="cameras", learner=Config(crops=crops)).memory().total


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, partial(whole_run.arguments, seeds=SEEDS)))
