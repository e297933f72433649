"""A.7: the learner's rate, sampling and Python included, against a bare jitted update of the same sizes."""

import argparse
import time

import jax
import jax.numpy as jnp

from benchmarks import bare_sac, common, made_up
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.core.spec import Spec
from robostack.learn.config import Config
from robostack.learn.learner import Learner

CHUNK = 20  # learner steps between two looks at the numbers, as `robostack learn` has it


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60, help="learner steps per measurement")


def measure(given: argparse.Namespace) -> list[Row]:
    spec, config = observe.spec_of(catalog.task("peg_insert")), Config()
    assert (config.widths, config.critics, config.batch) == ((256, 256), 2, 256)
    learner = Learner(spec, config, seed=0)
    learner.add(made_up.episodes(spec, 170))  # the length of the demo's practice
    bare = Bare(spec, config)

    def ours() -> float:
        start = time.perf_counter()
        for _ in range(given.steps // CHUNK):
            learner.train(CHUNK)  # returns numbers, so it has waited for the device
        return given.steps // CHUNK * CHUNK / (time.perf_counter() - start)

    common.interleaved(ours, lambda: bare.rate(given.steps), 1)  # compiles
    pairs = common.interleaved(ours, lambda: bare.rate(given.steps), given.pairs)
    ratios = common.ratios(pairs)
    rates = [rate for rate, _ in pairs]
    bare_rate = common.median([rate for _, rate in pairs])
    print(
        f"bare update: {bare_rate:.1f} learner steps/s; {config.critic_updates} critic updates a step"
    )
    return [
        row("A.7", common.median(ratios), ratios),
        row("A.7b", common.median(rates), rates),
    ]


class Bare:
    """Owns the bare update's state and its one set of batches."""

    def __init__(self, spec: Spec, config: Config):
        self._config = config
        self._state = bare_sac.init(
            jax.random.key(0), spec.observation_size, spec.action_size, config
        )
        shape = (config.critic_updates, config.batch)
        keys = jax.random.split(jax.random.key(1), 3)
        self._batches = bare_sac.Batch(
            observation=jax.random.normal(keys[0], (*shape, spec.observation_size)),
            action=jax.random.uniform(keys[1], (*shape, spec.action_size), minval=-1.0),
            reward=jnp.zeros(shape),
            mask=jnp.ones(shape),
            next_observation=jax.random.normal(keys[2], (*shape, spec.observation_size)),
        )

    def rate(self, steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            self._state = bare_sac.update(self._config, self._state, self._batches)
        jax.block_until_ready(self._state)
        return steps / (time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
