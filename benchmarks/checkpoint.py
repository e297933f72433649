"""B.3b: what writing checkpoints costs the learner, far more often than a run writes them."""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks import common, made_up
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.learn.learner import Learner
from robostack.learn.sac import Config
from robostack.store.state import Checkpoint, Writer

CHUNK = 20  # learner steps between two looks at the clock, as `robostack learn` has it
EVERY_S = 1.0  # a run: 15 s


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200, help="learner steps per measurement")


def measure(given: argparse.Namespace) -> list[Row]:
    spec = observe.spec_of(catalog.task("peg_insert"))
    learner = Learner(spec, Config(), seed=0)
    learner.add(made_up.episodes(spec, 170))  # the length of the demo's practice
    seen = [f"{index:06d}-practice.mcap" for index in range(1000)]
    stalls: list[float] = []

    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder), keep=3)

        def rate(is_saving: bool) -> float:
            start, saved = time.perf_counter(), -EVERY_S
            for _ in range(given.steps // CHUNK):
                learner.train(CHUNK)
                if is_saving and (now := time.perf_counter()) - saved > EVERY_S:
                    arrays = learner.arrays()
                    writer.save(Checkpoint(learner.steps, arrays, spec, {"seen": seen}, 0.5))
                    saved = now
                    stalls.append(1e3 * (time.perf_counter() - now))
            return given.steps // CHUNK * CHUNK / (time.perf_counter() - start)

        common.interleaved(lambda: rate(True), lambda: rate(False), 1)  # compiles
        stalls.clear()
        pairs = common.interleaved(lambda: rate(True), lambda: rate(False), given.pairs)
        writer.close()
        size = max(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6
    ratios = common.ratios(pairs)
    print(
        f"{len(stalls)} checkpoints of {size:.1f} MB; {common.median(stalls):.1f} ms in the middle"
    )
    return [row("B.3b", common.median(ratios), ratios), row("B.3c", max(stalls), stalls)]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
