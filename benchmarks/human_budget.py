"""C.6: what a person's time is worth: ours against HG-DAgger and BC with the same number of their steps. Hours.

On each task and seed, all in the mirror, with its sensors' noise: ours first, with demonstrations and corrections.
HG-DAgger gets the same demonstrations, and the same person with no more corrections than ours needed. BC gets as many
demonstrations as make up all of those steps (HIL-SERL, arXiv 2410.21845, section 4.2, compares so). All three have the
same network, limit of practice, checks, choice among versions, and examination. The tasks were chosen by pilots in
which clones of 20 to 45 demonstrations did 60 to 80 of 100 episodes: where a clone does everything, nothing can be
compared.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import common, whole_run
from benchmarks.rows import Row, row
from robostack import config as configs
from robostack.config import RunConfig
from robostack.store.run import Run
from robostack.study.ledger import Line, lines
from robostack.study.statistics import bootstrap, iqm

TASKS = {
    "reach": ("task=reach",),
    "peg_insert": ("task=peg_insert",),
    "pick_place": ("task=pick_place",),
    "peg_insert_half_clearance": ("task=peg_insert", "options.clearance=0.0005"),
    "peg_insert_twice_bias": ("task=peg_insert", "options.bias=0.002"),
}
CHOSEN = ("pick_place", "peg_insert_half_clearance", "peg_insert_twice_bias")
SEEDS = 5  # the bars are for so many; fewer do not meet them
COMMON = (
    "plant=twin",
    "noise=true",
    "demonstrations=20",
    "pictures=[]",
    "steps=8000",
    "person.speed=0.6",  # people at a device are slower than the script that stands for them
)


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    method: str
    shown: int  # demonstrations
    shown_steps: int  # of the person in them
    helped_steps: int  # of the person in practice
    practised: int  # steps of practice and checks
    success: float  # %, of the examination
    cycle: float  # s, of its episodes that succeeded; NaN without one

    @property
    def person_steps(self) -> int:
        return self.shown_steps + self.helped_steps

    def __str__(self) -> str:
        return (
            f"{self.method}: {self.success:.0f} % in {self.cycle:.2f} s; {self.shown} demonstrations of "
            f"{self.shown_steps} steps, {self.helped_steps} steps of help, {self.practised} of practice"
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    whole_run.arguments(parser, SEEDS)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=CHOSEN)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="for every run"
    )


def measure(given: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        found = {
            task: [
                compare(task, seed, given.runs or Path(temporary), given.set)
                for seed in given.seeds
            ]
            for task in given.tasks
        }
    is_short = len(set(given.seeds)) < SEEDS or len(given.tasks) < 3 or bool(given.set)
    return rows_of(list(found.values()), is_short)


def compare(task: str, seed: int, runs: Path, extra: Sequence[str]) -> dict[str, Outcome]:
    """The three methods on one task and seed."""
    base = (*COMMON, *TASKS[task], f"seed={seed}", *extra)
    folder = runs / task
    ours = play(folder, "sac", base)
    print(f"{task}, seed {seed}: {ours}", flush=True)
    each = ours.shown_steps / ours.shown
    count = max(1, round(ours.person_steps / each))
    theirs = {
        "hg_dagger": (f"person.budget={ours.helped_steps}",),
        "bc": (f"demonstrations={count}",),
    }
    found = {"sac": ours}
    for method, settings in theirs.items():
        found[method] = play(folder, method, (*base, *settings))
        print(f"{task}, seed {seed}: {found[method]}", flush=True)
    return found


def play(folder: Path, method: str, settings: Sequence[str]) -> Outcome:
    """One whole run, as `robostack train` makes it."""
    said = (*settings, f"method={method}")
    task = configs.override(RunConfig(), said).task
    config = configs.override(configs.of_task(task), said)
    place = folder / f"{method}-{config.seed}"
    words = (f"--set={setting}" for setting in said)
    return outcome_of(whole_run.made(place, "train", "--no-film", *words), config)


def outcome_of(run: Run, config: RunConfig) -> Outcome:
    """From a finished run's episodes."""
    played = lines(run.episodes)

    def of(kind: str) -> list[Line]:
        return [line for line in played if line.kind == kind]

    examined = of("evaluation")
    won = [line.steps for line in examined if line.is_success]
    return Outcome(
        method=config.method,
        shown=len(of("demonstration")),
        shown_steps=sum(line.person_steps for line in of("demonstration")),
        helped_steps=sum(line.person_steps for line in of("practice")),
        practised=sum(line.steps for line in of("practice") + of("solo")),
        success=100.0 * len(won) / len(examined),
        cycle=float(np.mean(won)) * config.load_task().period if won else float("nan"),
    )


def rows_of(found: Sequence[Sequence[dict[str, Outcome]]], is_short: bool) -> list[Row]:
    """By task and seed: gains in points, ratios of cycle times where both succeeded at all."""
    made = []
    for figure, other in (("C.6", "hg_dagger"), ("C.6b", "bc")):
        gains = [[each["sac"].success - each[other].success for each in task] for task in found]
        print(f"success over {other}: {_told(gains)} points")
        every = [gain for task in gains for gain in task]
        made.append(row(figure, iqm(every), every, failed=is_short))
    for figure, other in (("C.6c", "hg_dagger"), ("C.6d", "bc")):
        ratios = [
            [r for each in task if np.isfinite(r := each["sac"].cycle / each[other].cycle)]
            for task in found
        ]
        ratios = [task for task in ratios if task]
        print(f"cycle time over {other}'s: {_told(ratios)}")
        every = [ratio for task in ratios for ratio in task]
        made.append(row(figure, iqm(every) if every else 1e9, every, failed=is_short))
    person = [float(each["sac"].person_steps) for task in found for each in task]
    made.append(row("C.6e", iqm(person), person))
    return made


def _told(groups: Sequence[Sequence[float]]) -> str:
    if not groups:
        return "no run to compare"
    low, high = bootstrap(groups)
    every = [value for group in groups for value in group]
    means = ", ".join(f"{np.mean(group):.2f}" for group in groups)
    return f"{iqm(every):.2f} ({low:.2f} to {high:.2f}; by task {means})"


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
