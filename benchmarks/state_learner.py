"""C.2: learner steps/s on numbers, against a loop built as the reference builds it, same sizes, same run."""

import argparse
import time

from benchmarks import common, made_up
from benchmarks.reference_loop import ReferenceLoop
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.learn.config import Config
from robostack.learn.learner import Learner

CHUNK = 20  # learner steps between two looks at the numbers, as `robostack learn` has it


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=60, help="learner steps per measurement")


def measure(given: argparse.Namespace) -> list[Row]:
    spec, config = observe.spec_of(catalog.task("peg_insert")), Config(n_step=1)
    assert (config.widths, config.critics, config.batch) == ((256, 256), 2, 256)
    episodes = made_up.episodes(spec, 170)
    learner = Learner(spec, config, seed=0)
    learner.add(episodes)
    reference = ReferenceLoop(spec, config, episodes)

    def rate(train) -> float:
        start = time.perf_counter()
        for _ in range(given.steps // CHUNK):
            train(CHUNK)
        return given.steps // CHUNK * CHUNK / (time.perf_counter() - start)

    def both(pairs: int):
        return common.interleaved(lambda: rate(learner.train), lambda: rate(reference.train), pairs)

    both(1)  # compiles
    pairs = both(given.pairs)
    ratios, rates = common.ratios(pairs), [ours for ours, _ in pairs]
    theirs = [rate for _, rate in pairs]
    return [
        row("C.2", common.median(ratios), ratios),
        row("C.2b", common.median(rates), rates),
        row("C.2c", common.median(theirs), theirs),
    ]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
