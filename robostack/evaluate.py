"""Door `evaluate`: a run's best policy alone, deterministic, on fresh seeds, in the mirror."""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from robostack import config as configs
from robostack.core.errors import RobostackError, require
from robostack.core.guard import Guard
from robostack.core.loop import Loop
from robostack.core.plant import GuardedPlant
from robostack.learn import policy as policies
from robostack.store import params
from robostack.store.run import Run, write_json
from robostack.study.statistics import wilson
from robostack.twin.plant import TwinPlant

FRESH = 500_000_000  # a run's own seeds are all below: config.SEEDS times playing.SEEDS_A_RUN


def main(argv: list[str] | None = None) -> int:
    """Prints success with its 95 % interval; writes evaluation.json into the run folder."""
    parser = argparse.ArgumentParser(prog="robostack evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument(
        "--version", type=int, default=None, help="of the parameters; default: the best"
    )
    parser.add_argument("--seed", type=int, default=FRESH, help="of the first episode")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="as in train"
    )
    arguments = parser.parse_args(argv)
    require(arguments.episodes >= 1, "--episodes", arguments.episodes, "at least 1")
    if arguments.version is not None:
        require(arguments.version >= 0, "--version", arguments.version, "at least 0")
    require(arguments.seed >= 0, "--seed", arguments.seed, "at least 0")
    run = Run.open(arguments.run)
    config = configs.override(configs.from_dict(run.config), arguments.set)
    task, robot = config.load_task(), config.load_robot()
    version = params.pinned_version(run.params) if arguments.version is None else arguments.version
    if version < 0:
        raise RobostackError(
            f"{run.path} has no best version yet; name one with --version, or train to the end"
        )
    policy = policies.load(params.path_of(run.params, version), config.spec())
    plant = GuardedPlant(
        TwinPlant(task, robot, noise=config.noise), Guard(robot.safety, task.period)
    )
    spec = config.spec()
    plant.look_through([view.name for view in spec.views])
    loop = Loop(plant, task, robot, views=spec.views)
    played = [
        loop.run(policy, "evaluation", i, arguments.seed + i, with_pictures=False)
        for i in track(range(arguments.episodes), "evaluating")
    ]
    wins = sum(episode.is_success for episode in played)
    low, high = wilson(wins, len(played))
    seconds = float(np.mean([len(episode.steps) for episode in played])) * task.period
    print(
        f"{task.name} on {robot.name}, version {version}: {wins} of {len(played)} succeed "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %), {seconds:.1f} s on average"
    )
    failed = [episode.header.seed for episode in played if not episode.is_success]
    if failed:
        print(f"failed seeds: {', '.join(map(str, failed))}")
    write_json(
        run.path / "evaluation.json",
        {
            "version": version,
            "successes": wins,
            "episodes": len(played),
            "low": low,
            "high": high,
            "failed": failed,
        },
    )
    return 0
