"""C.17: a policy from a mixed log alone: IQL, as `robostack offline` has it, against A2PR and cloning. 8 min.

Three of ten episodes are of someone who can do it, the others of someone who wanders, and nobody says which: on the
two-link cell, and on peg_insert in the mirror, from numbers. All methods have the same log, networks, batches and
learner steps. What counts is success on fresh starts, of the last policy: without a robot, none can be chosen.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common, two_link
from benchmarks.a2pr import A2pr
from benchmarks.rows import Row, row
from benchmarks.two_link import Act, Changed
from robostack.core import catalog
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import Operator, ScriptedPerson
from robostack.core.plant import GuardedPlant
from robostack.core.spec import Spec
from robostack.core.task import Terms
from robostack.core.types import Episode
from robostack.learn.acting import Network
from robostack.learn.config import Config
from robostack.learn.learner import Learner, fresh
from robostack.learn.nets import NUMBERS
from robostack.playing import SEEDS_A_RUN
from robostack.study.statistics import bootstrap
from robostack.twin.batch import BatchTwin
from robostack.twin.plant import TwinPlant

STEPS = 4000  # of the learner
EXAMINED = 100  # fresh starts, the same for all
EXAM = 900_000_000  # their seeds begin here
SEEDS = 5
CONFIG = Config(widths=(64, 64), batch=128, rate=1e-3)  # of small networks, for few steps
METHODS = {
    "IQL": "C.17",
    "A2PR, alpha 2.5": "C.17b",
    "A2PR, alpha 40": "C.17c",
    "BC": "C.17d",
    "BC of the good part": "C.17e",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)))
    parser.add_argument("--steps", type=int, default=STEPS, help="learner steps")
    parser.add_argument("--logs", nargs="+", choices=LOGS, default=list(LOGS))


def measure(given: argparse.Namespace) -> list[Row]:
    found: dict[str, list[list[float]]] = {method: [] for method in METHODS}
    for name in given.logs:
        log, each = LOGS[name](), {method: [] for method in METHODS}
        for seed in given.seeds:
            good, bad = log.good(seed), log.bad(seed)
            succeeded = [sum(e.is_success for e in part) for part in (good, bad)]
            share = sum(len(e.steps) for e in good) / sum(len(e.steps) for e in good + bad)
            print(
                f"{name}, seed {seed}: {succeeded[0]} of {len(good)} good and {succeeded[1]} of {len(bad)} bad ones "
                f"succeed; {100 * share:.0f} % of the steps are good ones"
            )
            for method in METHODS:
                learner = learned(method, log.spec, good, bad, seed, given.steps)
                each[method].append(100 * log.success(policy(learner)))
                print(f"{name}, seed {seed}, {method}: {each[method][-1]:.0f} %", flush=True)
        for method, values in each.items():
            found[method].append(values)
            print(f"{name}, {method}: {told([values])}", flush=True)
    for method, groups in found.items():
        print(f"all, {method}: {told(groups)}")
    return [
        row(id, float(np.mean(found[method])), np.ravel(found[method]).tolist())
        for method, id in METHODS.items()
    ]


def told(groups: Sequence[Sequence[float]]) -> str:
    low, high = bootstrap(groups, lambda values: float(np.mean(values)))
    return f"{np.mean(groups):.0f} % ({low:.0f} to {high:.0f})"


def learned(
    method: str, spec: Spec, good: list[Episode], bad: list[Episode], seed: int, steps: int
) -> Learner:
    """From the log alone."""
    name, _, rest = method.partition(", alpha ")
    learner = Learner(spec, CONFIG, seed, 20_000, "iql" if name == "IQL" else "bc")
    if name == "A2PR":
        learner.algorithm = A2pr(spec, CONFIG)
        begun = fresh(learner.algorithm, jax.random.key(seed))
        learner.state = begun._replace(alpha=jnp.asarray(float(rest)))
    learner.add(good if method == "BC of the good part" else good + bad)
    learner.train(steps)
    return learner


def policy(learner: Learner) -> Act:
    """What was learned, deterministic, for observations (B, n)."""
    network, spec, weights = learner.algorithm.network, learner.replay.spec, learner.acting
    return lambda observation: np.asarray(_act(network, spec, weights, observation), float)


@partial(jax.jit, static_argnums=(0, 1))
def _act(network: Network, spec: Spec, weights: dict, observation: np.ndarray) -> jax.Array:
    return jax.vmap(lambda seen: network.act(spec, weights, {NUMBERS: seen}, None))(observation)


# What is in the logs


@dataclass
class Wander:
    """The bad one: moves about with no regard to the task. A person of one arm (m,), or of many (B, m)."""

    shape: tuple[int, ...]
    seed: int = 0

    def __post_init__(self):
        self.begin("demonstration", self.seed)

    def begin(self, kind: str, seed: int) -> None:
        del kind
        self._rng, self._now = np.random.default_rng([self.seed, seed]), np.zeros(self.shape)

    def act(self, terms: Terms | np.ndarray) -> np.ndarray:
        del terms
        self._now = 0.8 * self._now + self._rng.normal(0.0, 0.5, self.shape)
        return np.clip(self._now, -1.0, 1.0)

    def end(self, is_success: bool) -> None:
        del is_success


class TwoLink:
    """The good one is the script with a trembling hand."""

    spec, good_ones, bad_ones = two_link.SPEC, 90, 210  # episodes

    def good(self, seed: int) -> list[Episode]:
        numbers = range(self.good_ones)
        return self._play(seed, numbers, lambda n: two_link.noisy(two_link.script, 0.2, n))

    def bad(self, seed: int) -> list[Episode]:
        numbers = range(self.good_ones, self.good_ones + self.bad_ones)
        return self._play(seed, numbers, lambda n: Wander((1, 2), n).act)

    def _play(self, seed: int, numbers: range, person: Callable[[int], Act]) -> list[Episode]:
        def one(index: int) -> Episode:
            number = seed * SEEDS_A_RUN + index
            return two_link.play(person(number), "demonstration", index, number, Changed())

        return [one(index) for index in numbers]

    def success(self, act: Act) -> float:
        return two_link.success(act, np.arange(EXAMINED) + EXAM)


class PegInsert:
    """The good one is the scripted person of every run."""

    good_ones, bad_ones = 30, 70  # episodes

    def __init__(self):
        self._task, self._robot = catalog.task("peg_insert"), catalog.robot("fr3")
        twin = TwinPlant(self._task, self._robot)
        self._plant = GuardedPlant(twin, Guard(self._robot.safety, self._task.period))
        self.spec = Loop(self._plant, self._task, self._robot).spec

    def good(self, seed: int) -> list[Episode]:
        person = ScriptedPerson(lambda: self._task.expert(self._task.options), seed=seed)
        return self._play(seed, range(self.good_ones), person)

    def bad(self, seed: int) -> list[Episode]:
        numbers = range(self.good_ones, self.good_ones + self.bad_ones)
        return self._play(seed, numbers, Wander((self.spec.action_size,), seed))

    def _play(self, seed: int, numbers: range, person: Operator) -> list[Episode]:
        loop = Loop(self._plant, self._task, self._robot, person)
        still = StillPolicy(self.spec.action_size)
        return [loop.run(still, "demonstration", i, seed * SEEDS_A_RUN + i) for i in numbers]

    def success(self, act: Act) -> float:
        cells = BatchTwin(self._task, self._robot, EXAMINED, threads=1, seed=EXAM)
        seen, done = cells.reset(), np.zeros(EXAMINED, bool)
        for _ in range(self._task.steps):  # whoever fails is in their first episode all the time
            step = cells.step(act(seen))
            seen, done = step.observation, done | step.terminated
        return float(done.mean())


LOGS = {"two_link": TwoLink, "peg_insert": PegInsert}

if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
